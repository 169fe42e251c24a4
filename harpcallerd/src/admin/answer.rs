//! What each administrative request is answered.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use harp_proto::{Fault, JobId};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::info;

use super::administrator::Administrator;
use super::request::AdminRequest;
use super::{AdminDesk, Office, Order, jobs};
use crate::reload::{Refused, Reloaded};
use crate::retention;

/// Answers one request.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn answer(
    request: AdminRequest,
    desk: &AdminDesk,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let reply = match request {
        AdminRequest::Status { wait } => status(desk, wait).await,
        AdminRequest::Stop => return end(desk, Order::Stop, administrator).await,
        AdminRequest::Drain => return end(desk, Order::Drain, administrator).await,
        AdminRequest::ReloadConfig => reload(desk).await,
        request => {
            let office = desk.office.borrow().clone();
            match office {
                Some(office) => return of_office(request, &office, administrator).await,
                None => error("harpcallerd is starting; status --wait waits for it"),
            }
        }
    };
    administrator.write(&reply).await
}

/// A reply that says what is wrong.
pub(super) fn error(message: impl Display) -> Vec<u8> {
    line(&json!({"result": "error", "message": message.to_string()}))
}

/// What needs a daemon that has started.
async fn of_office(
    request: AdminRequest,
    office: &Arc<Office>,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let dispatcher = &office.dispatcher;
    let reply = match request {
        AdminRequest::ListJobs {
            list_all,
            stream: true,
        } => return jobs::stream(dispatcher, list_all, administrator).await,
        AdminRequest::ListJobs {
            list_all,
            stream: false,
        } => return jobs::list(dispatcher, list_all, administrator).await,
        AdminRequest::ListQueue { queue } => {
            return jobs::list_queue(dispatcher, &queue, administrator).await;
        }
        AdminRequest::JobInfo { job } => match jobs::info(dispatcher, job).await {
            Ok(Some(info)) => line(&Info { result: "ok", info }),
            Ok(None) => no_such_job(),
            Err(failure) => error(failure),
        },
        AdminRequest::CancelJob { job } => cancel(office, job).await,
        AdminRequest::ListQueues => {
            let names = dispatcher.queue_names();
            let names: Vec<_> = names.iter().map(jobs::Name).collect();
            line(&Queues {
                result: "ok",
                queues: names,
            })
        }
        AdminRequest::CancelQueue { queue } => {
            done(dispatcher.cancel_queue(&queue).await.map_err(told))
        }
        AdminRequest::ListHosts => hosts(office),
        AdminRequest::RefreshHosts => {
            info!("hosts registry to be refreshed, as an administrator asked");
            done(office.refresher.refresh().await.map(drop))
        }
        AdminRequest::PruneJobs { max_age } => {
            let age = Duration::from_secs(max_age);
            done(
                retention::prune_older(dispatcher.store(), age)
                    .await
                    .map(drop),
            )
        }
        AdminRequest::ReopenLogs => done(reopen_logs(office).await),
        // Those that do not need one.
        AdminRequest::Status { .. }
        | AdminRequest::Stop
        | AdminRequest::Drain
        | AdminRequest::ReloadConfig => ok(),
    };
    administrator.write(&reply).await
}

async fn status(desk: &AdminDesk, wait: bool) -> Vec<u8> {
    let mut office = desk.office.clone();
    let runs = match wait {
        // An error says that the daemon ends before its start was complete.
        true => office.wait_for(Option::is_some).await.is_ok(),
        false => office.borrow().is_some(),
    };
    let result = if runs { "running" } else { "stopped" };
    let needs = office.borrow().as_deref().map(attention);
    match needs.filter(|needs| !needs.is_empty()) {
        None => line(&json!({"result": result})),
        Some(needs) => line(&json!({"result": result, "attention": needs})),
    }
}

/// What is not as it should be at the moment, a sentence each.
fn attention(office: &Office) -> Vec<String> {
    let store = office.dispatcher.store();
    let failure = store
        .failure()
        .map(|reason| format!("the job store cannot be written, and calls are refused: {reason}"));
    failure.into_iter().collect()
}

/// Answers first: the daemon may have ended a moment after it has the order.
async fn end(desk: &AdminDesk, order: Order, administrator: &mut Administrator) -> io::Result<()> {
    info!(?order, "an administrator asked");
    let reply = line(&json!({"result": "ok", "pid": std::process::id().to_string()}));
    let answered = administrator.write(&reply).await;
    // If nobody takes it, the daemon is stopping as it is.
    let _ = desk.orders.send(order).await;
    answered
}

/// Opens the files of the log and of the audit log anew, each whatever becomes of the
/// other.
async fn reopen_logs(office: &Office) -> Result<(), String> {
    let log = Arc::clone(&office.log);
    let reopening = tokio::task::spawn_blocking(move || log.reopen());
    // The panic itself is in the log.
    let panicked = |_| io::Error::other("reopening met a fault of this program");
    let of_log = reopening.await.map_err(panicked).flatten();
    let of_audit = office.audit.reopen().await;
    info!("log files reopened, as an administrator asked");
    let told = [of_log, of_audit].into_iter().filter_map(Result::err);
    let told: Vec<_> = told.map(|error| error.to_string()).collect();
    match told.is_empty() {
        true => Ok(()),
        false => Err(told.join("; ")),
    }
}

async fn reload(desk: &AdminDesk) -> Vec<u8> {
    let (reply, answer) = oneshot::channel();
    // An order that nobody takes drops `reply`, so that the answer is an error.
    let _ = desk.orders.send(Order::Reload(reply)).await;
    match answer.await {
        Ok(Ok(Reloaded { restart_needed })) if restart_needed.is_empty() => ok(),
        Ok(Ok(Reloaded { restart_needed })) => {
            line(&json!({"result": "ok", "restart_needed": restart_needed}))
        }
        Ok(Err(Refused::File(message))) => error(message),
        Ok(Err(Refused::Parts(parts))) => line(&json!({"result": "error", "errors": parts})),
        Err(_) => error("harpcallerd is stopping"),
    }
}

async fn cancel(office: &Office, job: JobId) -> Vec<u8> {
    match office.dispatcher.cancel(job).await {
        Ok(true) => {
            info!(%job, "job cancelled by an administrator");
            ok()
        }
        Ok(false) => match jobs::info(&office.dispatcher, job).await {
            Ok(Some(_)) => line(&json!({"result": "ok", "cancelled": false})),
            Ok(None) => no_such_job(),
            Err(failure) => error(failure),
        },
        Err(fault) => error(told(fault)),
    }
}

fn hosts(office: &Office) -> Vec<u8> {
    let registry = office.hosts.all();
    let mut hosts: Vec<_> = registry.iter().collect();
    hosts.sort_unstable_by_key(|(name, _)| *name);
    let hosts: Vec<Value> = hosts
        .into_iter()
        .map(|(name, host)| {
            let endpoint = &host.endpoint;
            json!({"hostname": name, "address": endpoint.address, "port": endpoint.port})
        })
        .collect();
    line(&json!({"result": "ok", "hosts": hosts}))
}

#[derive(Serialize)]
struct Info<'a> {
    result: &'a str,
    info: jobs::JobLine,
}

#[derive(Serialize)]
struct Queues<'a> {
    result: &'a str,
    queues: Vec<jobs::Name<'a>>,
}

fn told(fault: Fault) -> String {
    fault.0.to_string()
}

fn done<E: Display>(outcome: Result<(), E>) -> Vec<u8> {
    match outcome {
        Ok(()) => ok(),
        Err(failure) => error(failure),
    }
}

fn ok() -> Vec<u8> {
    line(&json!({"result": "ok"}))
}

fn no_such_job() -> Vec<u8> {
    line(&json!({"result": "no_such_job"}))
}

/// A value as one line.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    // Text and numbers alone, which cannot fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
