//! `custodia-load shapes`: a large population, and searches over it, one shape at a time.
//!
//! Imports `caller`, `client`, `cli`, `deck`, `demo`, `fault`, `floor`, `gauge`, `measure`, `random`, `workload`, `world`.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    caller::Caller,
    cli::{Scope, ShapesOptions},
    client::Call,
    deck::{BASE, create_all, uri},
    demo::Demo,
    fault::Fault,
    floor,
    gauge::Gauge,
    measure::{Draw, Measured, Plan, measure},
    random::Random,
    say,
    workload::Step,
    world::{self, Size},
};

/// Of so many searches one finds nothing.
const MISSES: u64 = 4;
/// How long each shape warms up.
const WARMUP: Duration = Duration::from_secs(1);

mod table;

/// The ids of a population.
#[derive(Serialize, Deserialize)]
struct World {
    size: Size,
    organizations: Vec<String>,
    practitioners: Vec<String>,
    patients: Vec<String>,
    encounters: Vec<String>,
}

/// A search: type and parameter, then a value that is there, then one that is not.
struct Shape {
    name: &'static str,
    scope: Scope,
    hit: fn(&World, &mut Random) -> Option<String>,
    miss: fn(&World, &mut Random) -> Option<String>,
}

/// Loads, measures, reports; gives what misses its bound.
pub(crate) async fn shapes(options: &ShapesOptions) -> Result<Vec<String>, Fault> {
    let demo = Demo::read(&options.home)?;
    let asks = demo.user("physician")?.practitioner.clone();
    let asks = asks.ok_or_else(|| Fault::refused("the demo's physician has no Practitioner"))?;
    let size = Size::of(options.resources);
    let url = demo.database_owner.as_deref().or(demo.database.as_deref());
    let url = url.ok_or_else(|| Fault::refused("the demo does not say where its database is"))?;
    let world = match options.world.as_ref().filter(|file| file.exists()) {
        Some(file) => {
            let text = fs::read(file).map_err(Fault::io("read", file))?;
            serde_json::from_slice(&text).map_err(|_| Fault::Json("the file of --world"))?
        }
        None => {
            let (bytes, began) = (floor::database_bytes(url).await?, Instant::now());
            let world = World::load(&Caller::partner(&demo, "importer")?, size, &asks, options.seed).await?;
            let (grown, took) = (floor::database_bytes(url).await? - bytes, began.elapsed().as_secs_f64());
            let records = size.records() as f64;
            say(&format!(
                "{records} resources in {took:.1} s: {:.0} a second, {:.2} MB for each 1,000\n",
                records / took,
                grown as f64 / records / 1e3,
            ))?;
            if let Some(file) = &options.world {
                let text = serde_json::to_vec(&world).map_err(|_| Fault::Json("the ids"))?;
                fs::write(file, text).map_err(Fault::io("write", file))?;
            }
            world
        }
    };
    let world = Arc::new(world);
    say(&format!(
        "{:<58} {:>8} {:>7} {:>7} {:>7} {:>7}   cpu us: server postgres\n",
        "search", "req/s", "p50 ms", "p95 ms", "p99 ms", "max ms"
    ))?;
    let caller = Caller::person(&demo, "physician").await?;
    let gauge = Gauge::new(Some(demo.pid), demo.postgres_pid);
    let mut misses = Vec::new();
    let asked = |shape: &&Shape| {
        (options.scope.is_empty() || options.scope.contains(&shape.scope))
            && (options.only.is_empty() || options.only.iter().any(|part| shape.name.contains(part.as_str())))
    };
    for shape in table::SHAPES.iter().filter(asked) {
        let plan = Plan {
            draw: shape.draw(&world),
            bulk: None,
            clients: options.clients,
            warmup: WARMUP,
            measured: Duration::from_secs(options.seconds),
            bundle_entries: 0,
            requests_max: u64::MAX,
            seed: options.seed,
        };
        let measured = measure(&caller, plan, gauge).await?;
        say(&line(shape.name, &measured))?;
        let p99 = measured.tally.latencies.per_mille_ms(990);
        if let Some(bound) = options.max_p99_ms
            && (p99 > bound || !measured.tally.errors.is_empty() || measured.tally.latencies.total() == 0)
        {
            misses.push(format!("{}: p99 {p99:.1} ms, errors {:?}", shape.name, measured.tally.errors));
        }
    }
    Ok(misses)
}

fn line(name: &str, measured: &Measured) -> String {
    let Measured { tally, elapsed_s, readings: [before, after], .. } = measured;
    let (latencies, total) = (&tally.latencies, tally.latencies.total());
    let each = |seconds: f64| seconds * 1e6 / total.max(1) as f64;
    let mut text = format!(
        "{name:<58} {:>8.0} {:>7.2} {:>7.2} {:>7.2} {:>7.1} {:>16.0} {:>8.0}\n",
        total as f64 / elapsed_s,
        latencies.per_mille_ms(500),
        latencies.per_mille_ms(950),
        latencies.per_mille_ms(990),
        latencies.max_ms(),
        each(after.server_cpu_s - before.server_cpu_s),
        each(after.postgres_cpu_s - before.postgres_cpu_s),
    );
    for (error, count) in &tally.errors {
        text.push_str(&format!("    errors: {count} x {error}\n"));
    }
    text
}

impl World {
    async fn load(caller: &Caller, size: Size, asks: &str, seed: u64) -> Result<Self, Fault> {
        let at = |ids: &[String], number: u64| {
            let length = u64::try_from(ids.len()).unwrap_or(1).max(1);
            ids.get(usize::try_from(number % length).unwrap_or_default()).cloned().unwrap_or_default()
        };
        let create = async |kind: &str, count: u64, make: &(dyn Fn(u64) -> String + Sync)| {
            create_all(caller, kind, (0..count).map(make).collect(), seed).await
        };
        let organizations = create("Organization", size.organizations, &world::organization).await?;
        let practitioners = create("Practitioner", size.practitioners, &world::practitioner).await?;
        let make = |n| world::patient(n, asks, &at(&practitioners, n), &at(&organizations, n / 5));
        let patients = create("Patient", size.patients, &make).await?;
        let make =
            |n| world::encounter(n, &at(&patients, n), &at(&practitioners, n), &at(&organizations, n / 5));
        let encounters = create("Encounter", size.encounters, &make).await?;
        let make = |n| {
            let patient = size.patient_of(n);
            world::observation(n, &at(&patients, patient), &at(&encounters, patient), &at(&practitioners, n))
        };
        create("Observation", size.observations(), &make).await?;
        Ok(Self { size, organizations, practitioners, patients, encounters })
    }

    /// A patient with a chronic disease, and one of her Observations.
    fn chronic(&self, random: &mut Random) -> Option<(&str, u64)> {
        let number = random.below(self.size.chronic * self.size.of_chronic);
        let patient = usize::try_from(self.size.patient_of(number)).ok()?;
        Some((self.patients.get(patient)?, number))
    }

    /// Any Observation.
    fn observed(&self, random: &mut Random) -> u64 {
        random.below(self.size.observations())
    }
}

impl Shape {
    fn draw(&self, world: &Arc<World>) -> Draw {
        let (world, hit, miss) = (Arc::clone(world), self.hit, self.miss);
        Arc::new(move |random| {
            let (step, query) = if random.below(MISSES) == 0 {
                (Step::Miss, miss(&world, random)?)
            } else {
                (Step::Search, hit(&world, random)?)
            };
            Some((step, Call::get(uri(&format!("{BASE}/{query}&_count=20")).ok()?)))
        })
    }
}
