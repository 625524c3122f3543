"""Read tables as people have them: any text table, JSON, Parquet, Arrow, Excel, packed or not."""
