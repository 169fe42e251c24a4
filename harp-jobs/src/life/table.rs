//! The table of a job's life, as data. ARCHITECTURE.md shows it, `walk.rs` holds the code
//! to it.
//!
//! A cell is a row of cases, the first of which that fits counts: conditions and a colon,
//! then where the job stands afterwards, then the orders. `=` changes nothing, `-` cannot
//! come.

/// The table: one row an event, one column a standing.
pub(super) const TABLE: &str = "\
| event | Starting | Committing | Running | Parting | Ending | Settling |
| --- | --- | --- | --- | --- | --- | --- |
| LinkReady | not opening: -; keeps & leaving & not unrun: Done, Drop; asked: Starting; Committing, Commit | - | - | - | - | - |
| LinkFailed | not opening: -; asked: Starting; Ending(confirmed), Close(f) | - | - | - | - | - |
| Started | not asked: -; leaving & unrun: Done, Note, Drop; opening: Starting; old: Starting, Drop, Begin; ready: Committing, Commit; Ending(confirmed), Close(link) | - | - | - | - | - |
| Taken | recorded: -; Done, Drop, ShowEnd, ShowHost(confirmed) | - | - | - | - | - |
| Committed | - | leave: Done, Detach; wished: Ending(left), Tell, Close(wish); Running, Listen | - | - | - | - |
| First | - | leave: Done, Drop; wished: Ending(confirmed), Drop, Close(wish); Starting, Start | - | - | - | - |
| NotCommitted | - | leave: Done, Drop; certain & wished: Ending(confirmed), Drop, Close(wish); wished: Ending(left), Tell, Close(wish); certain: Ending(confirmed), Drop, Close(f); Ending(left), Tell, Close(f) | - | - | - | - |
| Sign | - | - | not flood: Running; late: Running; waiting: Ending(confirmed), Drop, Close(limit); talks: Parting, Tell, Listen; Ending(left), Tell, Close(limit) | flood: Ending(left), Close(same); Parting | - | - |
| Reading | - | - | Running | = | - | - |
| Apart | - | - | Running | Ending(left), Close(same) | - | - |
| Back | - | - | Running | = | - | - |
| Note | - | - | leaving: Done, Note, Detach; Running, Note | =, Note | - | - |
| Unrun | - | - | leaving: Done, Note, Detach; Running, Note | =, Note | - | - |
| NeverRan | - | - | Starting, Start | Ending(confirmed), Drop, Close(same) | - | - |
| HostEnd | - | - | left: Ending(left), Tell, Close(f); Ending(unconfirmed), Close(f) | left: Ending(left), Close(same); Ending(confirmed), Close(same) | - | - |
| Cut | - | - | Ending(left), Tell, Close(f) | Ending(left), Close(same) | - | - |
| Unkept | - | - | refused: Ending(left), Tell, Close(storage); Done, Detach | refused: Ending(left), Close(same); Done, Detach | = | - |
| Cancel | Ending(confirmed), Drop, Close(cancelled) | Committing | waiting: Ending(confirmed), Drop, Close(cancelled); talks: Parting, Tell, Listen; Ending(left), Tell, Close(cancelled) | = | = | = |
| Due | asked: -; late: Starting; Ending(confirmed), Drop, Close(limit) | wished: -; Committing | attaching: -; late: Running; waiting: Ending(confirmed), Drop, Close(limit); talks: Parting, Tell, Listen; Ending(left), Tell, Close(limit) | late: =; Ending(left), Close(same) | - | kept & late: =; kept: Settling, Settle; - |
| Leave | recorded & unrun: Done, Note, Drop; unrun: Starting; keeps: Done, Drop; Starting | keeps: Committing; = | keeps: Done, Detach; = | = | = | kept: Done; keeps: Done, Detach; = |
| Interrupt | recorded & unrun: Done, Note, Drop; recorded: Ending(confirmed), Drop, Close(missing_result); unrun: Starting; Done, Drop | Committing | waiting: Done, Detach; Ending(left), Tell, Close(missing_result) | Ending(left), Close(same) | = | kept: Done; = |
| Closed | - | - | - | - | again & left: Settling, Prove; left: Settling, ShowEnd, Prove; again: Done, ShowHost; Done, ShowEnd, ShowHost | - |
| Proved | - | - | - | - | - | proved: -; debt & keep & leaving: Done, ShowHost; debt & keep: Settling, ShowHost, Drop; debt: Settling, ShowHost, Settle; Done, ShowHost |
| Settled | - | - | - | - | - | kept: -; proved: Done; - |
| Fenced | Done, Drop | Committing | Done, Detach | Done, Detach | Done, Detach | Done, Detach |
| Shut | Done, Drop | Committing | Done, Detach | Done, Detach | Done, Detach | Done, Detach |
| Refused | Ending(confirmed), Drop, Close(f) | - | Ending(left), Tell, Close(f) | Ending(left), Close(same) | Done, Detach | Done, Detach |
| Fault | Ending(confirmed), Drop, Close(internal) | Ending(left), Drop, Close(internal) | Ending(left), Drop, Close(internal) | Ending(left), Drop, Close(same) | =, Drop, Close(same) | kept: =, Drop; proved: =, Drop, Settle; =, Drop, Prove |
";
