//! When an image may be used, and what becomes of it.

mod checks;
mod life;
mod passes;
mod process;
mod shapes;
