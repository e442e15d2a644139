//! When an image may be used, and what becomes of it.

mod checks;
mod life;
mod preload;
mod process;
mod shapes;
