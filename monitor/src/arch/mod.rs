//! What depends on the processor. There is one: x86-64.

pub mod x86_64;
