//! Lists of jobs, queues, hosts and procedures, each as one line with the keys that HTTP gives them.

use std::sync::Arc;

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_proto::Fault;
use harp_proto::client::{List, Listed};

use super::refusals::fault;
use crate::desk::Desk;
use crate::faces::listing::names::{NameFault, Names};
use crate::faces::listing::{hosts, jobs, procedures, queues};

/// The line of the list that a client asks for.
pub(super) async fn list(desk: &Arc<Desk>, by: &Client, list: List) -> Result<Vec<u8>, Fault> {
    let names = Names::new(list.names);
    let text = match list.what {
        Listed::Jobs => {
            let asked = jobs::Asked::take(names).map_err(wrong)?;
            let found = desk.find(by, &asked.find).await.map_err(fault)?;
            serde_json::to_vec(&asked.page(&found))
        }
        Listed::Queues => {
            let asked = queues::Asked::take(names).map_err(wrong)?;
            let queues = desk.queues(by, asked.after.as_ref(), asked.limit).await;
            serde_json::to_vec(&asked.page(&queues.map_err(fault)?))
        }
        Listed::Hosts => {
            let asked = hosts::Asked::take(names).map_err(wrong)?;
            let found = desk
                .hosts(by, &asked.part, asked.after.as_deref(), asked.limit)
                .await;
            serde_json::to_vec(&asked.page(&found.map_err(fault)?))
        }
        Listed::Procedures => {
            let asked = procedures::Asked::take(names, None).map_err(wrong)?;
            let found = desk.procedures(by, &asked.wanted).await;
            serde_json::to_vec(&asked.page(&found.map_err(fault)?))
        }
    };
    // Into memory, and of a user's values it is known that they are JSON.
    let unwritable = |error: serde_json::Error| {
        fault(Refusal::Failed {
            why: error.to_string(),
        })
    };
    let mut line = text.map_err(unwritable)?;
    line.push(b'\n');
    Ok(line)
}

fn wrong(NameFault { name, problem }: NameFault) -> Fault {
    Fault::invalid_request(&name, problem)
}
