//! `nodes`.

use std::path::Path;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::print;

pub(crate) fn list(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ListNodes)?;
    let nodes: Vec<_> = reply.nodes.iter().map(|node| node.get()).collect();
    print(&nodes)
}
