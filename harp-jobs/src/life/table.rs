//! The table of a job's life, as data. ARCHITECTURE.md shows it, `walk.rs` holds the code
//! to it.
//!
//! A cell is a row of cases, the first of which that fits counts: conditions and a colon,
//! then where the job stands afterwards, then the orders. `=` changes nothing, `-` cannot
//! come.

/// The table: one row an event, one column a standing.
pub(super) const TABLE: &str = "\
| event | Starting | Committing | Running | Ending | Settling |
| --- | --- | --- | --- | --- | --- |
| LinkReady | not opening: -; keeps & leaving: Done, Drop; asked: Starting; Committing, Commit | - | - | - | - |
| LinkFailed | not opening: -; asked: Starting; Ending(confirmed), Close(f) | - | - | - | - |
| Started | not asked: -; opening: Starting; old: Starting, Drop, Begin; ready: Committing, Commit; Ending(confirmed), Close(link) | - | - | - | - |
| Taken | recorded: -; Done, Drop, ShowEnd, ShowHost(confirmed) | - | - | - | - |
| Committed | - | leave: Done, Detach; wished: Ending(left), Tell, Close(wish); Running, Listen | - | - | - |
| First | - | leave: Done, Drop; wished: Ending(confirmed), Drop, Close(wish); Starting, Start | - | - | - |
| NotCommitted | - | leave: Done, Drop; certain & wished: Ending(confirmed), Drop, Close(wish); wished: Ending(left), Tell, Close(wish); certain: Ending(confirmed), Drop, Close(f); Ending(left), Tell, Close(f) | - | - | - |
| Sign | - | - | Running | - | - |
| Reading | - | - | Running | - | - |
| Apart | - | - | Running | - | - |
| Back | - | - | Running | - | - |
| Note | - | - | Running, Note | - | - |
| NeverRan | - | - | Starting, Start | - | - |
| HostEnd | - | - | left: Ending(left), Tell, Close(f); Ending(unconfirmed), Close(f) | - | - |
| Cut | - | - | Ending(left), Tell, Close(f) | - | - |
| Cancel | Ending(confirmed), Drop, Close(cancelled) | Committing | Ending(left), Tell, Close(cancelled) | = | = |
| Due | asked: -; Ending(confirmed), Drop, Close(limit) | wished: -; Committing | attaching: -; Ending(left), Tell, Close(limit) | - | - |
| Leave | keeps: Done, Drop; Starting | keeps: Committing; = | keeps: Done, Detach; = | = | keeps: Done, Detach; = |
| Interrupt | recorded: Ending(confirmed), Drop, Close(missing_result); Done, Drop | Committing | Ending(left), Tell, Close(missing_result) | = | = |
| Closed | - | - | - | again & left: Settling, Prove; left: Settling, ShowEnd, Prove; again: Done, ShowHost; Done, ShowEnd, ShowHost | - |
| Proved | - | - | - | - | proved: -; debt: Settling, ShowHost, Settle; Done, ShowHost |
| Settled | - | - | - | - | proved: Done; - |
| Fenced | Done, Drop | Committing | Done, Detach | Done, Detach | Done, Detach |
| Shut | Done, Drop | Committing | Done, Detach | Done, Detach | Done, Detach |
| Refused | Ending(confirmed), Drop, Close(f) | - | Ending(left), Tell, Close(f) | Done, Detach | Done, Detach |
| Fault | Ending(confirmed), Drop, Close(internal) | Ending(left), Drop, Close(internal) | Ending(left), Drop, Close(internal) | =, Drop, Close(same) | proved: =, Drop, Settle; =, Drop, Prove |
";
