//! `dist-erl-start` and `dist-erl-stop`, which are there so that a script that calls them
//! is told why they do nothing.

use anyhow::bail;

use super::Done;

pub(crate) fn run() -> Done {
    bail!(
        "Erlang's distribution belongs to the Erlang daemon; this one has none, \
         and its administrative socket is all there is to manage it by"
    )
}
