//! Images in the hands of administrators: the configuration file says which programs have one (`config`), `refresh` brings a
//! directory of images up to date, `learn` builds what starts have missed.

pub mod config;
pub mod learn;
pub mod refresh;
mod requests;

pub use config::ConfigError;
