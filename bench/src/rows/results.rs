//! How fast a result is told.

use super::Plan;
use crate::load::{Ask, AskAnew, Client, closed_loop};
use crate::report::{Figure, Wanted};
use crate::site::Site;

const CLIENTS: usize = 16;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let echo = site.reference(&["echo"])?;
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    let job = call(dispatcher.address, "stream", "[1]", "").await?;
    let line = format!("{{\"harpcaller\":1,\"get_result\":{job},\"wait\":true}}\n");
    Client::connect(dispatcher.address)
        .await?
        .ask(&line)
        .await?;

    let mut rates = Vec::new();
    for address in [echo.address, dispatcher.address] {
        let persistent = Ask::clients(address, CLIENTS, |_| line.clone()).await?;
        rates.push(closed_loop(persistent, plan.time).await?.rate);
        let connecting = AskAnew::clients(address, CLIENTS, |_| line.clone());
        rates.push(closed_loop(connecting, plan.time).await?.rate);
    }
    let figure = |name, value, reference| Figure {
        name,
        unit: "/s",
        value,
        reference: Some(reference),
        wanted: Wanted::Share(0.6),
    };
    Ok(vec![
        figure(
            "get_result, 16 clients, persistent connections",
            rates[2],
            rates[0],
        ),
        figure(
            "get_result, 16 clients, one connection a request",
            rates[3],
            rates[1],
        ),
    ])
}

/// Submits a call and returns its job's id as JSON text. `more` are further keys, each
/// with a comma before it.
pub(super) async fn call(
    address: std::net::SocketAddr,
    procedure: &str,
    arguments: &str,
    more: &str,
) -> anyhow::Result<String> {
    let mut client = Client::connect(address).await?;
    let answer = client
        .ask(&format!(
            "{{\"harpcaller\":1,\"host\":\"bench\",\"procedure\":\"{procedure}\",\"arguments\":{arguments}{more}}}\n"
        ))
        .await?;
    let answer: serde_json::Value = serde_json::from_str(answer)?;
    Ok(answer["job_id"].to_string())
}
