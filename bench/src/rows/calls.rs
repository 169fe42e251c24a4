//! Whole calls: submitted, made by a real harpd, the result waited for. The reference
//! makes the same calls to the same harpd without a dispatcher.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use harp_client::{HarpCaller, HarpServer, RemoteServer};
use harp_tests::{PASSWORD, USER};

use super::Plan;
use crate::distribution::Distribution;
use crate::load::{Loop, Operation, closed_loop};
use crate::report::{Figure, Wanted};
use crate::site::Site;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let harpd = site.harpd()?;
    let dispatcher = site.harpcallerd(&[("web01", harpd.address)])?;
    let direct = HarpServer::builder("127.0.0.1", USER, PASSWORD)
        .port(harpd.address.port())
        .ca_file(site.path("ca.pem"))
        .build()?;
    let rpc = HarpCaller::builder(dispatcher.address.to_string())
        .pool_size(64)
        .build()?;
    let web01 = rpc.host("web01");
    let through = |clients| closed_loop(vec![Through(web01.clone()); clients], plan.time);
    let directly = |clients| closed_loop(vec![Direct(direct.clone()); clients], plan.time);

    // The first calls find everything cold.
    closed_loop(vec![Direct(direct.clone())], plan.time / 10).await?;
    closed_loop(vec![Through(web01.clone())], plan.time / 10).await?;
    let (direct_1, through_1) = (directly(1).await?, through(1).await?);
    let (direct_16, through_16) = (directly(16).await?, through(16).await?);
    let (direct_64, through_64) = (directly(64).await?, through(64).await?);
    let syncs = syncs(&site, plan)?;
    let rate = |name, through: &Loop, direct: &Loop| Figure {
        name,
        unit: "/s",
        value: through.rate,
        reference: Some(direct.rate),
        wanted: Wanted::Share(0.75),
    };
    let mut figures = vec![
        rate("end to end, 16 clients", &through_16, &direct_16),
        rate("end to end, 64 clients", &through_64, &direct_64),
    ];
    let median = |mut times: Distribution| times.quantile_ms(0.5);
    figures.push(Figure {
        name: "end to end, one client, p50 (reference: direct and two syncs)",
        unit: "ms",
        value: median(through_1.times),
        reference: Some(median(direct_1.times) + 2.0 * median(syncs)),
        wanted: Wanted::Above(1.0),
    });
    Ok(figures)
}

/// How long it takes to bring 4 KiB to the disk.
pub(super) fn syncs(site: &Site, plan: Plan) -> anyhow::Result<Distribution> {
    let mut file = File::create(site.path("syncs"))?;
    let mut times = Distribution::default();
    let start = Instant::now();
    while start.elapsed() < plan.time / 2 {
        let before = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        times.add(before.elapsed());
    }
    Ok(times)
}

#[derive(Clone)]
pub(super) struct Through(pub(super) RemoteServer);

impl Operation for Through {
    async fn perform(&mut self) -> anyhow::Result<()> {
        let job = self.0.call("nothing", ()).await?;
        Ok(job.get::<()>().await?)
    }
}

#[derive(Clone)]
pub(super) struct Direct(pub(super) HarpServer);

impl Operation for Direct {
    async fn perform(&mut self) -> anyhow::Result<()> {
        let call = self.0.call("nothing", ()).await?;
        Ok(call.get::<()>().await?)
    }
}
