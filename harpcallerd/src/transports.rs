//! The ways of calling hosts: one file each, behind `harp_jobs::transport`.

pub mod harp;
