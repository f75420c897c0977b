//! The Neural Engine, simulated: profile rules, slots and numerics around the CPU executor.
