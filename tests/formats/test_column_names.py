"""Which quantity the name of a column says, for names as exports and papers have them."""

from __future__ import annotations

import pytest

from isoloss.formats.names import meanings, words_of

# By quantity: names, separated by `|`. They are those of W&B, MLflow, TensorBoard, the HF Trainer,
# lm-eval, OLMo, Pythia, OpenLM, Composer and nanoGPT, and of tables of papers.
NAMES = {
    "N": """
        N|n|params|n_params|num_params|nparams|NumParams|Parameters|n_parameters|num_parameters
        model_size|modelsize|ModelSize|param_count|parameter_count|model_params|size|hparams/n_params
        config/model.n_params|params.n_params|config.model.num_parameters|params/total|# params
        total_params|n_params_total|active_params|params_active_precise|activated_params|N_total
        non_embedding_params|n_params_nonembed|non_embd_params|params_non_embedding|N_active
        nonembeddingparams|paramsnonembedding|params_excl_embedding|N_nonemb|params (M)|N (params)
        Model Size (B)|log10_params|logN|log10_N|params_millions|params_b|N_B|model_size_m
        Number of parameters|trainable_params|model params (non-embedding)|params_1e6
        non_vocab_parameters|#parameters|nb_params|paramsM|modelSizeM|n_nonembd|size (B)""",
    "D": """
        D|d|tokens|n_tokens|num_tokens|training_tokens|train_tokens|tokens_trained|tokens_seen
        n_samples|samples|data_size|train_samples|examples|dataset_size|datasetsize|token_count
        throughput/total_tokens|num_train_tokens|trained_tokens_b|tokens_b|tokens_billions|D_B
        tokens (B)|Training tokens|D (tokens)|Training dataset size (datapoints)|log10_tokens|logD
        num_input_tokens_seen|train/tokens_seen|time/token|params.tokens|summary.total_tokens
        num_characters|ntoks|train_size|token_budget
        consumed_train_samples|Training Tokens (T)|tokensseen""",
    "C": """
        C|c|flops|FLOPs|flop|n_flops|compute|training_compute|total_flos|training_flop
        train/total_flos|Training compute (FLOP)|C (FLOPs)|PF_days|PFLOP/s-days|flops_1e18
        ExaFLOPs|log10_flops
        isoflop_budget|compute_pfd|C_6ND|throughput/total_training_Gflops|compute_budget|trainflops""",
    "U": "U|unique_tokens|n_unique|unique_samples|unique|ud|unique_train_tokens",
    "ratio": """
        tokens_per_param|tokens_per_parameter|tokens/param|D/N|Tokens per parameter|D / N
        tokens per active param|tpp|token_param_ratio|tok/param|tokens_to_params""",
    "loss": """
        loss|L|l|loss_nats|val_loss|valloss|Validation Loss|eval_loss|test_loss|final_loss|loss_eval
        cross_entropy|crossentropy|finaltestloss|train_loss|loss_overall|eval/loss|val/loss
        summary.val_loss|metrics.val_loss|summary/eval/loss|C4 Eval Loss|eval_loss (nats)
        perplexity|ppl|bpb|bits_per_byte|accuracy|error|test_error|error rate|top1_error|evalLoss
        eval/c4_en-validation/CrossEntropyLoss|eval/pile-validation/Perplexity|train/CrossEntropyLoss
        metrics/eval/LanguageCrossEntropy|loss/train/total|word_perplexity|eval/accuracy|nll
        best_val_loss|ce_loss|lm_loss|WikiText ppl|paloma_loss|val_bpb|loss_per_token|acc,none
        imagenet_top1|Top-1 Acc|bits/byte|pplx|cross-entropy|loss (bits/byte)|bits_per_byte,none
        val/ce_loss|norm_loss|val_norm_loss|unigram_normalized_loss|neg_log_likelihood
        L(N, D)|L(C)|$L$""",
    "": """
        tokens_per_second|loss_scale|param_norm|n_params_embedding|embedding_params|loss_std|lr
        step_loss_ema|best_loss_step|token_id|params_path|learning_rate|d_model|n_layers|n_heads|d_ff
        batch_size|vocab_size|seq_len|step|epoch|global_step|throughput/device/tokens_per_second
        throughput/flops_per_sec|throughput/device/mfu|optim/total_grad_norm|params.lr|params/lr
        params.weight_decay|tokens_per_batch|batch_tokens|max_tokens|eval_samples|num_eval_examples
        eval_samples_per_second|z_loss|train/ZLoss|aux_loss|load_balancing_loss|router_z_loss
        loss_weight|loss_fn|acc_stderr|perplexity_stderr|flops_per_token|tflops_per_gpu|seed|depth
        id|name|hidden_size|mask_ratio|val_tokens|max_seq_len|warmup_tokens|dropout|p_dropout|mix_id
        share_embeddings|gpu_hours|start_time|experiment_id|d_k|c_proj|param_groups|dataset_id
        tags.mlflow.runName|optim/learning_rate_group0|System/Peak GPU Memory (MB)|predicted_loss
        tok/s|FLOPs/token|tokens_to_target|relative_loss_error|loss_sem|n_ctx
        samples_per_second|data_seed|std_error|tokens_and_params|wall_time|loss_delta|model""",
}
CASES = [
    (name.strip(), quantity)
    for quantity, lines in NAMES.items()
    for line in lines.strip().splitlines()
    for name in line.strip().split("|")
]


@pytest.mark.parametrize(("name", "quantity"), CASES)
def test_a_name_says_one_quantity_or_none(name, quantity):
    assert list(meanings(name)) == ([quantity] if quantity else [])


@pytest.mark.parametrize(
    "better_first",
    [
        ["val_loss", "test_loss", "loss", "train_loss"],
        ["eval/loss", "eval/perplexity", "train/loss"],
        ["C4 Eval Loss", "train_loss"],
        ["final_val_loss", "val_loss"],
        ["loss", "bits_per_byte", "accuracy"],
        ["params", "active_params", "total_params", "non_embedding_params"],
        ["train_tokens", "tokens", "dataset_tokens"],
        ["tokens", "samples", "data"],
        ["flops", "flops_6nd"],
        ["params", "log10_params"],
    ],
)
def test_names_of_a_quantity_are_ranked(better_first):
    points = [next(iter(meanings(name).values())) for name in better_first]
    assert points == sorted(points, reverse=True) and len(set(points)) == len(points)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("eval/c4_en-validation/CrossEntropyLoss", "eval/pile-validation/CrossEntropyLoss"),
        ("loss_web", "loss_open_web_text"),
        ("student_params", "other_student_params"),
    ],
)
def test_words_that_nobody_knows_do_not_decide(one, two):
    assert meanings(one) == meanings(two) != {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("summary/eval/CrossEntropyLoss", ["eval", "cross", "entropy", "loss"]),
        ("params.tokens", ["tokens"]),
        ("params.total", ["params", "total"]),
        ("TrainFLOPs", ["train", "flops"]),
        ("params (excl. embeddings)", ["params", "nonembedding"]),
        ("params_with_embedding", ["params", "total"]),
        ("", []),
        ("Verlust_模型", ["verlust", "模型"]),
    ],
)
def test_a_name_is_cut_into_words(name, words):
    assert words_of(name) == words
