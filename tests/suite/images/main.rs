//! When an image may be used, and what becomes of it.

mod checks;
mod life;
mod portable;
mod process;
mod shapes;
