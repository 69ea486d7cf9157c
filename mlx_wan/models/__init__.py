"""The networks, one file each, in upstream names and order of operations.

A network's config has the sizes of the published one as its defaults, where one only was published.
"""

# network name in config.json -> (module, config class, network class)
NETWORKS = {
    "wan_transformer": ("wan", "WanConfig", "WanTransformer"),
    "umt5": ("umt5", "UMT5Config", "UMT5Encoder"),
    "wan_vae21": ("vae_wan21", "WanVAE21Config", "WanVAE21"),
    "wan_vae22": ("vae_wan22", "WanVAE22Config", "WanVAE22"),
    "mochi_transformer": ("mochi", "MochiConfig", "MochiTransformer"),
    "t5": ("t5", "T5Config", "T5Encoder"),
    "mochi_vae": ("vae_mochi", "MochiVAEConfig", "MochiVAE"),
    "hunyuan_transformer": ("hunyuan", "HunyuanConfig", "HunyuanTransformer"),
    "hunyuan_upsampler_720": ("hunyuan_upsampler", "Upsampler720Config", "Upsampler720"),
    "hunyuan_upsampler_1080": ("hunyuan_upsampler", "Upsampler1080Config", "Upsampler1080"),
    "hunyuan_vae": ("vae_hunyuan", "HunyuanVAEConfig", "HunyuanVAE"),
    "qwen25vl": ("qwen25vl", "QwenConfig", "QwenEncoder"),
    "byt5": ("byt5", "ByT5Config", "ByT5Encoder"),
    "siglip": ("siglip", "SiglipConfig", "SiglipEncoder"),
}

# components that are files without tensors: sentencepiece has one spiece.model, byte_bpe has one
# tokenizer.json
TOKENIZERS = ("sentencepiece", "byte_bpe")
