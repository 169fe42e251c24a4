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

/// A term of any node, as it was seen.
struct Seen {
    node: i32,
    name: String,
    epoch: i64,
    beat: i64,
}

/// Begins a term. Where one goes on it is looked at for as long as a few beats: a node that is
/// there is not replaced, and the term of one that is not is ended.
pub(super) async fn join(
    connection: &Connection,
    options: &Options,
    world: &dyn World,
) -> Result<Term, NotOpened> {
    loop {
        let seen = alive(connection).await?;
        if !seen.is_empty() {
            world.sleep(world.now() + options.beat * BEATS).await;
            let now = alive(connection).await?;
            let moves = |now: &&Seen| {
                let is_the_same = |seen: &Seen| {
                    (seen.node, seen.epoch, seen.beat) == (now.node, now.epoch, now.beat)
                };
                !seen.iter().any(is_the_same)
            };
            if let Some(node) = now.iter().find(moves) {
                return Err(NotOpened::InUse(node.name.clone()));
            }
        }
        for Seen {
            node, epoch, beat, ..
        } in &seen
        {
            let end = "select harp.end_term_1($1, $2, $3)";
            connection.rows(end, &[node, epoch, beat]).await?;
        }
        let join = "select node, epoch from harp.join_1($1)";
        let joined = connection.rows(join, &[&options.node]).await?;
        // Another one may have been quicker.
        if let Some(row) = joined.first() {
            return Ok(Term {
                node: row.get(0),
                epoch: row.get(1),
            });
        }
    }
}

/// The terms that go on.
async fn alive(connection: &Connection) -> Result<Vec<Seen>, NotOpened> {
    let look = "select node, name, epoch, beat from harp.look_1() where alive";
    let rows = connection.rows(look, &[]).await?;
    let seen = rows.iter().map(|row| Seen {
        node: row.get(0),
        name: row.get(1),
        epoch: row.get(2),
        beat: row.get(3),
    });
    Ok(seen.collect())
}
