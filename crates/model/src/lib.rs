//! Llama-family models: configuration, parameters, stages as MIL, plans, tokenizer, file formats.
