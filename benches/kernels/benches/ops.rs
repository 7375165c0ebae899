//! Each op at the shapes of a 130M model, per instruction set.

fn main() {}
