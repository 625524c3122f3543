"""Every threshold of the checks. `benchmarks/verdict.py` says how often verdicts are right.

Differences and spreads are of log loss: .01 is one per cent of the loss.
"""

# --- pooled experiments ---
LEVELS = 12  # values of a column, at most, that may name experiments
LEVEL_ROWS = 3  # runs for each of them, on average, at least
CHANCE = 1e-3  # p value below which chance does not explain a column, all columns tried together
EXPLAINED = 0.3  # share of the misfit that a column explains: a doubt
MOSTLY = 0.5  # share from which the fit describes none of the experiments
ALONG = 0.95  # rank correlation with a variable from which a column is another name for it
SMALL = 0.01  # spread of residuals, root mean square, below which pooling does little harm
SEEDS = 0.02  # SD between runs alike in all variables: seeds differ by less than one per cent
BEYOND_SEEDS = 1.5  # that SD over the one between seeds alone, where they are known
TUNING = 0.08  # SD from which they are not repetitions
APART = 0.88  # share of the variance between two sets of residuals; a normal has 2/pi = .64
HALVES = 0.15  # share of the runs in the smaller set, at least

# --- checkpoints ---
FOLLOWING = 0.5  # correlation of a residual with the next one of its size
FOLLOWING_Z = 4.0  # in its standard errors

# --- outliers and runs that are not there ---
FAR = 6.0  # robust standard deviations (1.4826 MAD) from which a run is an outlier
FAR_LEAST = 0.005  # and at least this much
GROSS = 0.1  # a residual of that size is a mistake or another experiment
LARGE = 0.04  # a residual of that size is seen in the parameters, if there are many
MANY_OUTLIERS = 0.05  # share of the runs
OUTSIDE = 0.05  # share of the runs at which a law leaves the range of its response
BEYOND = 0.05  # of the values' spread, by which the interval of a level leaves their range
COPIES = 0.03  # share of rows that are those of others to the last digit
MANY_DIVERGED = 0.1  # share of the runs: those that are left are a selection
FEWEST_OK = 0.5  # share of values that are believed, where a column says it of each

# --- design ---
NARROW = 3.0  # factor between the largest and the least of a variable: a doubt
FLAT = 1.5  # factor below which a power cannot be told from another
FEW_VALUES = 3  # distinct values of a variable, at least
COLLINEAR = 3.0  # factor by which runs spread in their narrowest direction of log N and log D
LINE = 1.3  # factor below which they lie on a line
TO_SPARE = 2  # runs beyond the parameters, at least
RATIOS = (1e-3, 1e6)  # tokens per parameter, median, beyond which units are doubtful
OTHER_COMPUTE = 0.1  # |ln| of C over 6 N D, median: so far off is the D of a budget
TINY_N, TINY_D = 100.0, 5000.0  # largest N and D of a table, below which they are hardly counts
APART_SIZES = 1e6  # factor within N or D that tables of one unit seldom have ...
GAP_OF_UNITS = 2.0  # ... and powers of ten without a value in it, which says two units
UNIFORM = 14.0  # nats: above ln(1e6), the loss of a uniform guess among a million tokens

# --- the fit ---
LOST = 0.05  # share of replicates without an answer: a doubt
EXPONENT = 3.0  # factor between the ends of an exponent's interval
LOCATION = 0.5  # share of the predictions' range by which they change along another's interval
OFFSET = 0.25  # the same along the interval of E, if that is not known to a factor
NOISY = 0.05  # robust SD of the residuals: a doubt
NO_LAW = 0.15  # SD from which the law does not describe the runs
EXPLAINS = 0.8  # R2 below which little is explained: a doubt
NOTHING = 0.25  # R2 below which the law explains about nothing
SHAPE = 0.2  # share of the misfit that squares and products of log N and log D explain
SHAPE_CHANCE = 1e-3  # p value of that
SHAPE_SIZE = 0.002  # its root mean square in log loss: less is good to know only
SHAPE_RUNS = 8  # runs beyond the parameters and those terms, at least
HELD_OUT = 4.0  # held-out RMSE over that of the runs fitted
CANCELS = (
    10.0  # all terms of a law in absolute value over what they sum to: a doubt if one is loose
)
CANCELS_MUCH = 1000.0  # and from here on a doubt by itself
FAR_SCALE = 100.0  # factor between a scale and the nearest run from which the runs do not reach it
TRADE_ALONE = 1.0  # half width of a parameter's interval over its median: hardly known alone
TRADE_KNOWN = 0.1  # that of a combination that is known
TRADE_TIGHTER = 20.0  # factor by which it is better known than either parameter
TRADE_REPLICATES = 50  # to say so
