//! Administrative requests in words of the desk, and what it answers in replies.

use std::io;
use std::time::Duration;

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_proto::JobId;
use serde_json::{Value, json};

use super::administrator::Administrator;
use super::request::AdminRequest;
use super::{condition, export, lists, replies};
use crate::cluster::Node;
use crate::desk::Desk;
use crate::desk::admin::{self, Administration, KeptCalls, Started};
use crate::desk::lists::Which;
use crate::faces::listing::hosts::{DeviceState, state};

/// Answers one request.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn answer(
    request: AdminRequest,
    administration: &Administration,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let reply = match request {
        AdminRequest::Status { wait, detail } => {
            let runs = administration.status(wait).await;
            let attention = administration.attention();
            let condition = if detail {
                let by = administrator.client().await;
                Some(condition::of(administration, attention.clone(), &by).await)
            } else {
                None
            };
            replies::status(runs, &attention, condition)
        }
        // Answered first: the daemon may have ended a moment after it has the order.
        AdminRequest::Stop { end_calls } => {
            let calls = if end_calls {
                KeptCalls::End
            } else {
                KeptCalls::Leave
            };
            let answered = administrator.write(&ending()).await;
            let by = administrator.client().await;
            administration.stop(&by, calls).await;
            return answered;
        }
        AdminRequest::Drain => {
            let answered = administrator.write(&ending()).await;
            administration.drain(&administrator.client().await).await;
            return answered;
        }
        AdminRequest::ReloadConfig => {
            let by = administrator.client().await;
            reload(administration, &by).await
        }
        request => match administration.started() {
            Ok(started) => return of_started(request, &started, administrator).await,
            Err(refusal) => replies::refused(refusal),
        },
    };
    administrator.write(&reply).await
}

/// What needs a daemon that has started.
async fn of_started(
    request: AdminRequest,
    started: &Started,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let desk = &started.desk;
    let by = administrator.client().await;
    let answered = match request {
        AdminRequest::ListJobs { list_all, stream } => {
            let which = if list_all { Which::All } else { Which::Live };
            match desk.jobs(&by, which).await {
                Ok(jobs) if stream => return lists::stream(jobs, administrator).await,
                Ok(jobs) => return lists::list(jobs, administrator).await,
                Err(refusal) => Err(refusal),
            }
        }
        AdminRequest::ListQueue { queue } => match desk.queue_jobs(&by, &queue).await {
            Ok(jobs) => return lists::list_queue(jobs, administrator).await,
            Err(refusal) => Err(refusal),
        },
        AdminRequest::FindJobs { names } => {
            return lists::find(desk, &by, names, administrator).await;
        }
        AdminRequest::JobInfo { job, detail: false } => desk.job(&by, job).await.map(replies::info),
        AdminRequest::JobInfo { job, detail: true } => {
            let view = desk.view(&by, job).await;
            view.map(|view| replies::detailed_info(&view))
        }
        AdminRequest::CancelJob { job } => cancel(desk, &by, job).await,
        AdminRequest::ListQueues => desk.queue_names(&by).await.map(replies::queues),
        AdminRequest::CancelQueue { queue } => {
            let cancelled = desk.cancel_queue(&by, &queue).await;
            cancelled.map(|jobs| replies::line(&json!({"result": "ok", "jobs_cancelled": jobs})))
        }
        AdminRequest::ListHosts => hosts(started, &by),
        AdminRequest::ListNodes => desk.nodes(&by).await.map(nodes),
        AdminRequest::RefreshHosts => started
            .refresh_hosts(&by)
            .await
            .map(|refreshed| replies::refreshed(&refreshed)),
        AdminRequest::ResumeJobs => started
            .resume_held(&by)
            .await
            .map(|jobs| replies::line(&json!({"result": "ok", "jobs_resumed": jobs}))),
        AdminRequest::PruneJobs { max_age } => {
            let age = Duration::from_secs(max_age);
            started.prune(&by, age).await.map(replies::pruned)
        }
        AdminRequest::ExportJobs => return export::stream(started, &by, administrator).await,
        AdminRequest::ReopenLogs => started.reopen_logs(&by).await.map(|()| replies::ok()),
        // Those that need no daemon that has started.
        AdminRequest::Status { .. }
        | AdminRequest::Stop { .. }
        | AdminRequest::Drain
        | AdminRequest::ReloadConfig => Ok(replies::ok()),
    };
    administrator
        .write(&answered.unwrap_or_else(replies::refused))
        .await
}

/// The reply before the daemon ends.
fn ending() -> Vec<u8> {
    replies::line(&json!({"result": "ok", "pid": std::process::id().to_string()}))
}

async fn reload(administration: &Administration, by: &Client) -> Vec<u8> {
    match administration.reload(by).await {
        Ok(mut reloaded) => match reloaded.registry.take() {
            Some(registry) => replies::reloaded(&reloaded, admin::registry_after(registry).await),
            None => replies::reloaded(&reloaded, None),
        },
        Err(refusal) => replies::refused(refusal),
    }
}

/// Of jobs that could be cancelled, one that has ended is none.
async fn cancel(desk: &Desk, by: &Client, job: JobId) -> Result<Vec<u8>, Refusal> {
    if desk.cancel(by, job, false).await?.cancelled {
        return Ok(replies::ok());
    }
    desk.job(by, job).await?;
    Ok(replies::has_ended())
}

fn nodes(nodes: Vec<Node>) -> Vec<u8> {
    let node = |node: Node| {
        json!({
            "name": node.name,
            "state": if node.is_alive { "alive" } else { "dead" },
            "epoch": node.epoch,
            "beat_age": node.beat_age.as_secs_f32(),
            "running": node.running,
            "version": node.version,
        })
    };
    let nodes: Vec<Value> = nodes.into_iter().map(node).collect();
    replies::line(&json!({"result": "ok", "nodes": nodes}))
}

fn hosts(started: &Started, by: &Client) -> Result<Vec<u8>, Refusal> {
    let hosts = started.hosts(by)?.into_iter();
    let hosts: Vec<Value> = hosts
        .map(|host| {
            let mut entry =
                json!({"hostname": host.name, "address": host.address, "port": host.port});
            if let Some(standing) = &host.standing {
                entry["kind"] = host.kind.into();
                entry["state"] = state(standing).into();
                entry["device"] = json!(DeviceState::from(standing));
            }
            entry
        })
        .collect();
    Ok(replies::line(&json!({"result": "ok", "hosts": hosts})))
}
