"""Words of other tools for settings: the name here, or one sentence where there is no such setting.

Collected from Ultralytics, fastai, timm, torchvision's references, the Hugging Face Trainer, Lightning, Keras,
AutoGluon and SageMaker. Names are written with underscores; the command line, recipes and Python calls share them.
"""

from __future__ import annotations

# Name elsewhere -> name of the setting that means the same and takes the same values.
SAME: dict[str, str] = {
    other: ours
    for ours, others in {
        "batch_size": "bs batch batchsize train_batch_size mini_batch_size per_device_train_batch_size "
        "per_gpu_train_batch_size",
        "epochs": "epoch e n_epoch n_epochs num_epochs num_train_epochs max_epochs nb_epoch",
        "lr": "lr0 base_lr lr_max max_lr init_lr initial_lr",
        "weight_decay": "wd l2 weight_decay_rate",
        "optimizer": "opt optim optimiser opt_func",
        "schedule": "sched scheduler lr_scheduler lr_scheduler_type lr_schedule",
        "warmup": "warmup_ratio warmup_pct",
        "step_size": "lr_step_size decay_epochs lr_scheduler_step",
        "gamma": "lr_gamma decay_rate lr_scheduler_factor",
        "eps": "opt_eps adam_epsilon epsilon",
        "clip_grad": "clip max_grad_norm clip_grad_norm gradient_clip_val grad_clip clipnorm",
        "accumulate": "gradient_accumulation_steps grad_accum_steps accumulate_grad_batches accum_iter accum",
        "backbone_lr_factor": "backbone_lr_mult",
        "head_epochs": "freeze_epochs",
        "label_smoothing": "smoothing label_smoothing_factor ls",
        "mixup": "mixup_alpha",
        "cutmix": "cutmix_alpha",
        "dropout": "drop drop_rate dropout_rate ps",
        "ema": "model_ema_decay ema_decay",
        "class_weights": "class_weight use_weighted_loss",
        "image_size": "imgsz img_size img crop_size train_crop_size resolution",
        "augment": "aug augmentation augmentations auto_augment aa data_augmentation augmentation_type",
        "valid_fraction": "val_split validation_split valid_pct val_fraction validation_fraction val_size valid_size "
        "train_val_split holdout_frac val_frac",
        "test_fraction": "test_split test_size test_frac",
        "limit": "max_samples max_train_samples max_images",
        "workers": "j num_workers dataloader_num_workers n_workers nw",
        "threads": "num_threads nthreads",
        "model": "a arch architecture backbone net network encoder model_name model_name_or_path",
        "weights": "pretrained_weights initial_checkpoint checkpoint_path pretrained_path model_path",
        "head": "hidden_dims hidden_layers mlp_head",
        "freeze": "freeze_layers freeze_at",
        "seed": "random_state random_seed",
        "precision": "precision_dtype dtype",
        "time_limit": "max_time timeout",
        "patience": "early_stopping_patience patience_epochs es_patience",
        "monitor": "metric_for_best_model eval_metric early_stopping_metric checkpoint_metric",
        "label_column": "label label_col label_column_name y_col target target_column",
        "id_column": "image_column image_column_name x_col fn_col filename_column",
        "split_column": "valid_col split_col",
        "group_column": "group_col groups patient_column patient_col group_by",
        "image_folder": "image_dir images_dir img_dir image_root images_root img_root root_dir",
        "interpolation": "train_interpolation",
        "device": "gpu gpu_id",
    }.items()
    for other in others.split()
}

_EPOCHS = "Lengths are epochs: pass --epochs N, and --time-limit 10m for a limit of time."
_SPLITS = "One dataset holds all splits, as folders train/, valid/ and test/ or a column: pass its folder as DATA."
_LOGGERS = (
    "metrics.jsonl and report.html are written always; clearsight debug export RUN --tensorboard DIR exports them."
)
_SEVERAL = "Several GPUs: torchrun --nproc-per-node N -m clearsight train DATA --out RUN. One: --device cuda:0."
_COSINE = "The cosine schedule has no setting for its end: choose another with --schedule constant or step."
_AUGMENT = "Random changes of the images are chosen together: --augment light, standard or randaugment."
_CHECKPOINTS = "The newest and the best epoch are always saved; --checkpoint-every 60 saves more often."
_EMA = "Pass the decay of the average of the weights: --ema 0.999."
_NEW_FOLDER = "A run is never overwritten: pass a new folder with --out, or nothing for the next free one in runs/."
_EARLY_STOP = "Pass --patience N to stop after N epochs without a better validation score."
_MULTI_LABEL = "Each image has one class here: multi-label targets and regression are not supported."

# Name elsewhere -> the sentence that answers it: there is no such setting, or it is written differently.
INSTEAD: dict[str, str] = {
    other: sentence
    for sentence, others in {
        "The number of classes follows from the data, and a new head is made for it: leave the flag out.": (
            "num_classes nc n_classes n_out c_out num_labels"
        ),
        _EPOCHS: "max_steps steps num_steps iterations max_iter steps_per_epoch total_steps num_training_steps",
        "The length of the warm-up is a share of the steps: --warmup 0.05.": (
            "warmup_epochs warmup_steps num_warmup_steps lr_warmup_epochs warmup_lr lr_warmup_decay"
        ),
        _COSINE: "min_lr lrf lr_final eta_min lr_min final_lr div_final",
        _SPLITS: "train_dir val_dir validation_dir test_dir train_split valid_dir train_folder validation_data",
        _LOGGERS: "wandb report_to tensorboard logger log_wandb logdir log_dir plots log_interval logging_steps "
        "print_freq p log_every_n_steps mlflow",
        _SEVERAL: "gpus n_gpu num_gpus devices nproc_per_node world_size dist_url rank num_nodes strategy distributed "
        "multiprocessing_distributed sync_bn",
        _AUGMENT: "hflip vflip fliplr flipud hsv_h hsv_s hsv_v degrees scale ratio color_jitter colour_jitter reprob "
        "random_erase erasing ra_magnitude mosaic translate shear perspective rand_aug trivial_augment "
        "item_tfms batch_tfms transforms",
        _CHECKPOINTS: "save_period save_steps save_strategy checkpoint_frequency save_total_limit checkpoint_interval "
        "save_top_k checkpoint_hist save_best load_best_model_at_end",
        _EMA: "model_ema use_ema",
        _NEW_FOLDER: "exist_ok overwrite overwrite_output_dir force",
        _EARLY_STOP: "early_stopping early_stop",
        _MULTI_LABEL: "multi_label multilabel regression bce_loss label_mode",
        "Momentum of adam and adamw cannot be set; --momentum is that of --optimizer sgd.": (
            "beta1 beta2 beta_1 beta_2 betas adam_beta1 adam_beta2 opt_betas"
        ),
        "--monitor names the validation score that picks the best epoch; all scores are computed always.": (
            "metrics metric scoring eval_metrics top_k"
        ),
        "Validation is after every epoch: its images are the valid split, or --valid-fraction of the images.": (
            "eval_strategy evaluation_strategy eval_steps val_interval val_check_interval check_val_every_n_epoch "
            "per_device_eval_batch_size validation_batch_size eval_batch_size val do_train do_eval val_batch_size"
        ),
        "Pass one number of pixels: --image-size 224.": "image_shape input_shape input_size",
        "The loss is cross entropy; --class-weights balanced and --label-smoothing 0.1 change it.": (
            "loss loss_func criterion loss_fn focal_loss"
        ),
        "Learning rates per part are --head-lr and --backbone-lr-factor.": (
            "layer_decay discriminative_lr lr_slice lr_mult"
        ),
        "Decoded images stay in memory between epochs, and features in the cache, without a flag.": (
            "cache cache_images rect persistent_workers pin_memory pin_mem prefetch_factor"
        ),
        "torch.compile is not used here: --auto-tune measures the settings that are.": (
            "torchcompile compile torch_compile"
        ),
        "Pass settings for a preset: --freeze backbone is fast, --augment standard with more --epochs is accurate.": (
            "presets preset hyperparameters"
        ),
        "Rules run by themselves: --rules, --rule and --on-finding choose them.": "callbacks cbs callback",
        "Weights come by the model's name: -m NAME, and --weights FILE, RUN or BUNDLE for other ones.": (
            "hub_model_id hub push_to_hub hf_hub_id torchhub"
        ),
        "Try a few images first with --limit 100 --epochs 1.": "fast_dev_run dry_run debug_mode overfit_batches",
        "The plan, each epoch and each finding are printed always; --json prints the result for programs.": (
            "verbose v quiet q progress_bar silent"
        ),
        "The number of training images follows from the data; --limit N uses N of all images.": (
            "num_training_samples fraction limit_train_batches limit_val_batches subset"
        ),
        "Stochastic depth cannot be set; --dropout is the rate in the head.": "drop_path drop_block drop_path_rate",
        "Every run can be repeated from its seed: --seed 0 is the default.": "deterministic",
    }.items()
    for other in others.split()
}


def answer(name: str) -> str:
    """Return the sentence that answers another tool's name of a setting, such as "bs"; "" for an unknown word."""
    plain = name.lower().replace("-", "_").lstrip("_")
    if plain in SAME:
        return f"That is called {SAME[plain]} here."
    return INSTEAD.get(plain, "")
