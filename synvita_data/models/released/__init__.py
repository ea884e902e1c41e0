"""Checkpoints as others release them, and what their conversions share.

`weights` reads `.bin` and safetensors, whole or in shards; `lora_settings` reads what PEFT notes beside an adapter;
`conversion` writes. Importing this package imports nothing, and `weights` and `lora_settings` no torch.
"""

# Names of files in a folder with a model or an adapter.
CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TRAINING_ARGUMENTS = "training_args.json"  # which `SynViTATrainer` leaves beside a model
