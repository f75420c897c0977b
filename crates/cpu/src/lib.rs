//! Plans and executes MIL functions on the CPU.
