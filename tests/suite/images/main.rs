//! When an image may be used, and what becomes of it.

mod checks;
mod direct;
mod life;
mod preload;
mod process;
mod shapes;
