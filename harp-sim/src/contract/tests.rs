//! The ledger in memory is held to the contract, in any order of its tasks.

use harp_jobs::world::World;

use super::*;
use crate::chance::Chance;
use crate::executor::Played;
use crate::memory::{Disk, Faults, Memory};

struct InMemory {
    world: Played,
    disk: Disk,
    faults: Faults,
    ledger: Memory,
}

impl Subject for InMemory {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone())
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        self.ledger.crash(0);
        self.ledger = Memory::open(&self.world, &self.disk, self.faults.clone());
        Box::pin(async {})
    }

    fn set_down(&mut self, is_down: bool) {
        self.faults.set_down(is_down);
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        let until = self.world.now() + time;
        self.world.sleep(until)
    }

    fn wall(&self) -> u64 {
        self.world.wall()
    }
}

fn hold_to(clause: &Clause, seed: u64, faults: Faults) {
    let world = Played::new(Chance::of_seed(seed));
    let disk = Disk::default();
    let ledger = Memory::open(&world, &disk, faults.clone());
    let play = Play::new(Box::new(InMemory {
        world: world.clone(),
        disk,
        faults,
        ledger,
    }));
    world.block_on((clause.1)(play));
}

#[test]
fn the_ledger_in_memory_keeps_the_contract() {
    for clause in CONTRACT {
        println!("{}", clause.0);
        for seed in 0..20 {
            hold_to(clause, seed, Faults::new(3, 0, 0, 3));
        }
    }
}
