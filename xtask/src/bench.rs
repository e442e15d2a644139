//! The startup laboratory: what is started (`workload`, made by `spec`, `source` and `compile`), by whom (`peers`, in
//! the `stage`), and what it costs (`measure`, by the `harness` and `stats`; `results` is what comes out).

pub mod callgrind;
pub mod chart;
pub mod compile;
pub mod figures;
pub mod harness;
pub mod least;
pub mod measure;
pub mod peers;
pub mod phases;
pub mod profile;
pub mod replica;
pub mod report;
pub mod results;
pub mod source;
pub mod spec;
pub mod stage;
pub mod stats;
pub mod trace;
pub mod workload;
