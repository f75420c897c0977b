//! The contract between the trainer and whatever evaluates MIL: engines, kernels, surfaces, profiles, the legaliser.
