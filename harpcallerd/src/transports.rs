//! The ways of calling hosts, behind `harp_jobs::transport`: a folder each, and what chooses
//! among them.

pub mod by_kind;
pub mod device;
pub mod harp;
pub mod worker;
