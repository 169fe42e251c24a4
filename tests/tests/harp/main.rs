//! The `harp` command as an operator uses it: the real binary, a real dispatcher, real
//! hosts, and a terminal where one is needed.

mod arguments;
mod bad_input;
mod byte_order_marks;
mod command;
mod completions;
mod configuration;
mod direct;
mod exit_codes;
mod following;
mod hosts;
mod identity;
mod interrupts;
mod json;
mod limits;
mod manual;
mod output;
mod own_faults;
mod serve;
mod terminal;
