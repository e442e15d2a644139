//! When an image may be used, and what becomes of it.

mod checks;
mod debuggers;
mod direct;
mod life;
mod passes;
mod portable;
mod preload;
mod process;
mod shapes;
