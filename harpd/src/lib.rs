//! harpd, the host daemon: answers calls of the host protocol by running commands.
//!
//! # Theory of operation
//!
//! [`service`] owns the listening sockets and one [`state`], the reading of all files,
//! which a reload replaces whole. Each connection is a task ([`connection`]): TLS, one
//! request, authentication ([`users`]), and then a [`call`]. The call's task owns
//! everything of it: the [`caller`] to answer to, its slots ([`slots`]), and the
//! [`session`] of its command. A call ends in one place, with one message, and only when
//! no process of its session is left; a call's task that is dropped or panics kills the
//! session.
//!
//! What a [`procedure`] is has two halves that know nothing of each other: a [`runner`]
//! makes a process with three pipes ([`launch`]), and an [`output`] turns what comes out
//! into packets and a result.
//!
//! All child processes are started and reaped by the [`reaper`]: harpd is a child
//! subreaper, so what a call's commands leave behind falls to it.

pub mod account;
pub mod add_user;
pub mod admission;
pub mod answer;
pub mod arguments;
pub mod call;
pub mod call_list;
pub mod caller;
pub mod care;
pub mod checked;
pub mod choria;
pub mod command;
pub mod config;
pub mod connection;
pub mod connections;
pub mod descendants;
pub mod describe;
pub mod description;
pub mod descriptors;
pub mod exit;
pub mod exposed;
pub mod imports;
pub mod invocation;
pub mod keeper;
pub mod keeper_notes;
pub mod kept;
pub mod launch;
pub mod line_log;
pub mod original;
pub mod output;
pub mod permissions;
pub mod procedure;
pub mod procedures_dir;
pub mod program;
pub mod python;
pub mod reaper;
pub mod recipient;
pub mod runner;
pub mod service;
pub mod session;
pub mod slots;
pub mod stash;
pub mod state;
pub mod users;
