//! What waits in memory: a line for each tenant, by turns, so that nobody waits behind another's backlog.
//!
//! Memory is bounded twice: a tenant has so many messages in it, and all tenants together so many. What is beyond
//! that waits on disk, of that tenant alone, and is fetched as his line gets short. What is kept of a tenant whose
//! messages are all on disk is a mark, which no more of them make larger.

use std::collections::{HashMap, VecDeque};

use postrider::model::TenantId;

/// Messages of one tenant that are in memory.
const LINE: usize = 5_000;
/// Messages of all tenants that are; a fetch for [`AT_ONCE`] of them may add to it.
pub(super) const ALL: usize = 20_000;
/// Tenants for whom is fetched at once.
const AT_ONCE: usize = 8;

pub(super) struct Message {
    pub(super) tenant: TenantId,
    pub(super) row: i64,
    pub(super) body: String,
    pub(super) received: u32,
}

#[derive(Default)]
struct Line {
    ready: VecDeque<Message>,
    /// Beyond this row, they are on disk alone; none: all that are visible are in memory.
    on_disk_after: Option<i64>,
    /// Whether more is asked for, or being fetched.
    asked: bool,
}

impl Line {
    fn is_short(&self) -> bool {
        self.on_disk_after.is_some() && !self.asked && self.ready.len() < LINE / 2
    }
}

/// What is to be read from disk: a tenant's rows after a number.
pub(super) type Wanted = (TenantId, i64);

/// The lines of all tenants with something that waits.
#[derive(Default)]
pub(super) struct Lines {
    by_tenant: HashMap<TenantId, Line>,
    /// Whose lines have something in memory, in the order of their turns.
    turns: VecDeque<TenantId>,
    /// Whose lines are short of what is on disk.
    asking: VecDeque<TenantId>,
    /// Messages in memory.
    count: usize,
}

impl Lines {
    /// Lines of tenants whose messages are all on disk.
    pub(super) fn on_disk(tenants: Vec<TenantId>) -> Self {
        let line = || Line { on_disk_after: Some(0), asked: true, ..Line::default() };
        let by_tenant = tenants.iter().map(|tenant| (tenant.clone(), line())).collect();
        Self { by_tenant, asking: tenants.into(), ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= ALL
    }

    /// Whether a row that has just been written is to be kept in memory; else it is fetched when its turn comes.
    pub(super) fn has_room(&mut self, tenant: &TenantId, row: i64) -> bool {
        let is_full = self.is_full();
        let Some(line) = self.by_tenant.get_mut(tenant) else {
            if is_full {
                let line = Line { on_disk_after: Some(row - 1), asked: true, ..Line::default() };
                self.by_tenant.insert(tenant.clone(), line);
                self.asking.push_back(tenant.clone());
            }
            return !is_full;
        };
        if line.on_disk_after.is_none() && (is_full || line.ready.len() >= LINE) {
            line.on_disk_after = Some(row - 1);
        }
        line.on_disk_after.is_none()
    }

    /// Puts messages at the end of their tenant's line.
    pub(super) fn put(&mut self, tenant: &TenantId, messages: impl IntoIterator<Item = Message>) {
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.clone(), Line::default());
        }
        let Some(line) = self.by_tenant.get_mut(tenant) else { return };
        let before = line.ready.len();
        line.ready.extend(messages);
        self.count += line.ready.len() - before;
        if before == 0 && !line.ready.is_empty() {
            self.turns.push_back(tenant.clone());
        }
    }

    /// Takes the next message: the first in the line of the tenant whose turn it is.
    pub(super) fn next(&mut self) -> Option<Message> {
        let tenant = self.turns.pop_front()?;
        let line = self.by_tenant.get_mut(&tenant)?;
        let message = line.ready.pop_front();
        self.count -= usize::from(message.is_some());
        if line.is_short() {
            line.asked = true;
            self.asking.push_back(tenant.clone());
        }
        if !line.ready.is_empty() {
            self.turns.push_back(tenant);
        } else if line.on_disk_after.is_none() {
            self.by_tenant.remove(&tenant);
        }
        message
    }

    /// What is to be fetched now.
    pub(super) fn wanted(&mut self) -> Vec<Wanted> {
        if self.is_full() {
            return Vec::new();
        }
        let some = self.asking.len().min(AT_ONCE);
        let after = |tenant: TenantId| Some((self.by_tenant.get(&tenant)?.on_disk_after?, tenant));
        self.asking.drain(..some).filter_map(after).map(|(after, tenant)| (tenant, after)).collect()
    }

    /// Notes that what was wanted was fetched, and beyond which row there is more.
    pub(super) fn fetched(&mut self, tenant: &TenantId, more_after: Option<i64>) {
        let Some(line) = self.by_tenant.get_mut(tenant) else { return };
        (line.on_disk_after, line.asked) = (more_after, false);
        if line.is_short() {
            line.asked = true;
            self.asking.push_back(tenant.clone());
        } else if line.ready.is_empty() {
            self.by_tenant.remove(tenant);
        }
    }

    /// It could not be read: it is asked for again.
    pub(super) fn not_fetched(&mut self, wanted: Vec<Wanted>) {
        self.asking.extend(wanted.into_iter().map(|(tenant, _)| tenant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn put(lines: &mut Lines, name: &str, rows: std::ops::Range<i64>) {
        let message = |row| Message { tenant: tenant(name), row, body: String::new(), received: 0 };
        lines.put(&tenant(name), rows.map(message));
    }

    fn taken(lines: &mut Lines) -> Vec<(String, i64)> {
        std::iter::from_fn(|| lines.next()).map(|m| (m.tenant.as_str().to_owned(), m.row)).collect()
    }

    #[test]
    fn tenants_take_turns_and_each_keeps_its_order() {
        let mut lines = Lines::default();
        put(&mut lines, "noisy", 1..4);
        put(&mut lines, "quiet", 4..5);
        let expected = [("noisy", 1), ("quiet", 4), ("noisy", 2), ("noisy", 3)];
        assert_eq!(taken(&mut lines), expected.map(|(name, row)| (name.to_owned(), row)));
        assert!(lines.by_tenant.is_empty() && lines.turns.is_empty());
    }

    #[test]
    fn a_tenant_with_too_much_waits_on_disk_and_the_others_do_not() {
        let mut lines = Lines::default();
        put(&mut lines, "noisy", 0..i64::try_from(LINE).unwrap());
        assert!(!lines.has_room(&tenant("noisy"), 7000));
        assert!(!lines.has_room(&tenant("noisy"), 7001), "not before what is on disk");
        assert!(lines.has_room(&tenant("quiet"), 7002));
        assert_eq!(lines.wanted(), [], "its line is long");
        for _ in 0..=LINE / 2 {
            lines.next();
        }
        assert_eq!(lines.wanted(), [(tenant("noisy"), 6999)]);
        assert_eq!(lines.wanted(), [], "once");
        lines.fetched(&tenant("noisy"), None);
        assert!(lines.has_room(&tenant("noisy"), 7003));
    }

    #[test]
    fn memory_is_bounded_however_many_tenants_there_are() {
        let mut lines = Lines::default();
        for n in 0..ALL + 100 {
            let (name, row) = (format!("t{n}"), i64::try_from(n).unwrap());
            if lines.has_room(&tenant(&name), row) {
                put(&mut lines, &name, row..row + 1);
            }
        }
        assert_eq!((lines.count, lines.asking.len()), (ALL, 100));
        assert_eq!(lines.wanted(), [], "not before there is room");
        lines.next();
        let wanted = lines.wanted();
        assert_eq!(wanted.len(), AT_ONCE);
        lines.not_fetched(wanted);
        assert_eq!(lines.asking.len(), 100);
    }
}
