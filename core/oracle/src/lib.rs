//! The naive judge: verdicts straight from the managed objects, sharing no code with the compiler.
