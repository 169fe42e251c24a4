//! A node's term: from its joining until somebody ends it.

use super::{NotOpened, Options};
use crate::connection::Connection;
use harp_jobs::world::World;

/// A term of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// The node's number.
    pub(super) node: i32,
    /// Counts the node's terms.
    pub(super) epoch: i64,
}

/// Beats that a term may stand still before it is taken to be over.
const BEATS: u32 = 3;

/// A term, as it was seen.
struct Seen {
    node: i32,
    epoch: i64,
    beat: i64,
}

/// Begins a term. Where one of this node's name goes on it is looked at for as long as a few
/// beats: a node that is there is not replaced, and the term of one that is not is ended.
pub(super) async fn join(
    connection: &Connection,
    options: &Options,
    world: &dyn World,
) -> Result<Term, NotOpened> {
    loop {
        let seen = alive(connection, &options.node).await?;
        if !seen.is_empty() {
            world.sleep(world.now() + options.beat * BEATS).await;
            let now = alive(connection, &options.node).await?;
            let moves = |now: &Seen| {
                let is_the_same = |seen: &Seen| {
                    (seen.node, seen.epoch, seen.beat) == (now.node, now.epoch, now.beat)
                };
                !seen.iter().any(is_the_same)
            };
            if now.iter().any(moves) {
                return Err(NotOpened::InUse(options.node.clone()));
            }
        }
        for Seen { node, epoch, beat } in &seen {
            let end = "select harp.end_term_1($1, $2, $3)";
            connection.rows(end, &[node, epoch, beat]).await?;
        }
        let join = "select node, epoch from harp.join_1($1, $2)";
        let release = env!("CARGO_PKG_VERSION");
        let joined = connection.rows(join, &[&options.node, &release]).await?;
        // Another one may have been quicker.
        if let Some(row) = joined.first() {
            return Ok(Term {
                node: row.get(0),
                epoch: row.get(1),
            });
        }
    }
}

/// The terms of this name that go on.
async fn alive(connection: &Connection, name: &str) -> Result<Vec<Seen>, NotOpened> {
    let look = "select node, epoch, beat from harp.look_1() where alive and name = $1";
    let rows = connection.rows(look, &[&name]).await?;
    let seen = rows.iter().map(|row| Seen {
        node: row.get(0),
        epoch: row.get(1),
        beat: row.get(2),
    });
    Ok(seen.collect())
}
