//! What goes wrong in a run. Each seed has some kinds of fault and not others: what all of them together would hide, one
//! alone may show.

use crate::chance::Chance;

/// A second, in the microseconds of the simulation.
pub const SECOND: i64 = 1_000_000;
/// A minute.
pub const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub const HOUR: i64 = 60 * MINUTE;

/// Which part of the world a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store.
    Store,
    /// The queue.
    Queue,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Before,
    /// It was done, but the answer got lost.
    After,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long it takes until it is done.
    pub before: i64,
    /// How long the answer takes.
    pub after: i64,
    /// How it fails, if it does.
    pub fault: Option<Fault>,
}

/// A time in which a part of the world answers hardly anything.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    part: Part,
    from: i64,
    until: i64,
}

/// The kinds of fault of a run. Chances are in thousandths.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A call fails, and nothing was done.
    pub before: u32,
    /// A call fails, but was done.
    pub after: u32,
    /// A call takes up to three seconds.
    pub slow: u32,
    /// A process stands still for minutes: longer than leases last.
    pub stalls: u32,
    /// A message is lost although its sender was told that it is queued.
    pub lost: u32,
    /// A message is handed out twice, as if each were the first time.
    pub doubled: u32,
    /// A message comes later than it should.
    pub late: u32,
    /// Seconds between two crashes, about; none: there are none.
    pub crashes: Option<i64>,
    /// A round of the scheduler begins twice, or not at all.
    pub rounds: u32,
    /// How far processes' clocks are apart, in microseconds.
    pub skew: i64,
    /// How long other processes' writes may not be seen, where the contract allows it.
    pub stale: i64,
    /// Whether accepting and queueing are two steps, as on AWS, or one, as in a file.
    pub two_steps: bool,
    /// Whether webhooks are paused, resumed, changed and deleted.
    pub operators: bool,
    /// Times in which a part answers hardly anything.
    pub outages: Vec<Outage>,
    /// Whether all that is over.
    pub is_calm: bool,
}

impl Faults {
    /// What a seed has; `span` is how long it may last, from `start` on.
    pub fn draw(chance: &mut Chance, start: i64, span: i64) -> Self {
        let mut some = |cases, rates: &[u32]| if chance.in_1000(cases) { chance.pick(rates) } else { 0 };
        let mut faults = Self {
            before: some(700, &[5, 30, 100, 250]),
            after: some(700, &[5, 30, 100]),
            slow: some(500, &[10, 100]),
            stalls: some(250, &[1, 5]),
            lost: some(400, &[20, 200, 500]),
            doubled: some(350, &[20, 200]),
            late: some(500, &[50, 300]),
            rounds: some(400, &[100, 500]),
            ..Self::default()
        };
        faults.crashes = chance.in_1000(600).then(|| chance.pick(&[20, 120, 600]));
        faults.skew = if chance.in_1000(300) { SECOND / 4 } else { 0 };
        faults.stale = chance.pick(&[0, 0, SECOND, 2 * SECOND]);
        faults.two_steps = chance.in_1000(500);
        faults.operators = chance.in_1000(600);
        while chance.in_1000(300) {
            let part = chance.pick(&[Part::Store, Part::Queue]);
            let from = start + chance.between(0, span);
            faults.outages.push(Outage { part, from, until: from + chance.between(SECOND, 25 * MINUTE) });
        }
        faults
    }

    /// Whether an attempt may be made twice at the same time: whoever stands still outlives his lease, and a message
    /// doubled in silence is taken for the only one (decision 2).
    pub fn may_overlap(&self) -> bool {
        self.stalls > 0 || self.doubled > 0
    }

    /// What becomes of a call at `now`.
    pub fn plan(&self, chance: &mut Chance, part: Part, now: i64) -> Plan {
        let mut plan =
            Plan { before: chance.between(100, 8000), after: chance.between(100, 4000), fault: None };
        if self.is_calm {
            return plan;
        }
        if chance.in_1000(self.slow) {
            plan.before = chance.between(0, 2 * SECOND);
            plan.after = chance.between(0, SECOND);
        }
        if chance.in_1000(self.stalls) {
            let stall = chance.between(30 * SECOND, 7 * MINUTE);
            if chance.in_1000(500) { plan.before += stall } else { plan.after += stall }
        }
        let is_out = |outage: &Outage| outage.part == part && (outage.from..outage.until).contains(&now);
        let more = if self.outages.iter().any(is_out) { 900 } else { 0 };
        if chance.in_1000(self.before + more) {
            plan.fault = Some(Fault::Before);
        } else if chance.in_1000(self.after) {
            plan.fault = Some(Fault::After);
        }
        plan
    }
}
