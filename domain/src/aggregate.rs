//! Which objects belong together: the connected components of their links.

use crate::object::ObjectKey;
use crate::state::ObjectState;
use std::collections::{BTreeMap, BTreeSet};

/// States by object.
pub type States = BTreeMap<ObjectKey, ObjectState>;

/// The objects that these name as members of their aggregates but that are not among them.
pub fn beyond(states: &States) -> BTreeSet<ObjectKey> {
    states.values().flat_map(linked).filter(|key| !states.contains_key(key)).collect()
}

/// The aggregates that these objects form. A link to an object that is not among them is ignored:
/// see [`beyond`].
pub fn components(states: &States) -> Vec<Vec<&ObjectState>> {
    let mut seen = BTreeSet::new();
    let mut components = Vec::new();
    for start in states.values() {
        let mut component = Vec::new();
        let mut queue = vec![start];
        while let Some(state) = queue.pop() {
            if seen.insert(&state.key) {
                component.push(state);
                queue.extend(linked(state).filter_map(|key| states.get(&key)));
            }
        }
        if !component.is_empty() {
            component.sort_by(|a, b| a.key.cmp(&b.key));
            components.push(component);
        }
    }
    components
}

/// Links never leave the account that owns the object.
fn linked(state: &ObjectState) -> impl Iterator<Item = ObjectKey> + '_ {
    state.links.iter().map(|id| ObjectKey::new(&state.key.account, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str, links: &[&str]) -> ObjectState {
        let mut state = ObjectState::named(ObjectKey::new("", id));
        state.links.extend(links.iter().map(|link| (*link).to_owned()));
        state
    }

    #[test]
    fn links_join_what_belongs_together() {
        let states: States = [
            state("pi_1", &["ch_1"]),
            state("ch_1", &["pi_1", "re_1"]),
            state("re_1", &["ch_1"]),
            state("pi_2", &["ch_2"]),
        ]
        .into_iter()
        .map(|state| (state.key.clone(), state))
        .collect();
        let sizes: Vec<usize> = components(&states).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 1]);
        assert_eq!(beyond(&states), BTreeSet::from([ObjectKey::new("", "ch_2")]));
    }
}
