//! In which order constructors run.

use alloc::vec;
use alloc::vec::Vec;

use super::ObjectId;

/// Objects in the order in which they are initialised.
pub type InitOrder = Vec<ObjectId>;

/// Depth-first post-order over the direct dependencies from `root`, each object once: dependencies before their
/// dependents, the root last, cycles cut where they are met (musl's `queue_ctors`).
///
/// `dependencies[id]` are the direct dependencies of object `id`.
pub fn initialization_order(root: ObjectId, dependencies: &[&[ObjectId]]) -> InitOrder {
    let mut order = Vec::with_capacity(dependencies.len());
    let mut seen = vec![false; dependencies.len()];
    // The path from the root, with how many dependencies of each object on it are done.
    let mut path = vec![(root, 0)];
    seen[root.index()] = true;
    while let Some((object, done)) = path.last_mut() {
        match dependencies[object.index()].get(*done) {
            Some(&next) => {
                *done += 1;
                if !core::mem::replace(&mut seen[next.index()], true) {
                    path.push((next, 0));
                }
            }
            None => {
                order.push(*object);
                path.pop();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(dependencies: &[&[u32]]) -> Vec<u32> {
        let ids: Vec<Vec<ObjectId>> =
            dependencies.iter().map(|list| list.iter().copied().map(ObjectId).collect()).collect();
        let slices: Vec<&[ObjectId]> = ids.iter().map(Vec::as_slice).collect();
        initialization_order(ObjectId::PROGRAM, &slices).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn dependencies_come_before_their_dependents() {
        assert_eq!(order(&[&[1, 2], &[2], &[]]), [2, 1, 0]);
    }

    #[test]
    fn siblings_keep_their_order() {
        assert_eq!(order(&[&[1, 2, 3], &[], &[], &[]]), [1, 2, 3, 0]);
    }

    #[test]
    fn a_diamond_is_initialised_once() {
        assert_eq!(order(&[&[1, 2], &[3], &[3], &[]]), [3, 1, 2, 0]);
    }

    #[test]
    fn cycles_are_cut_where_they_are_met() {
        assert_eq!(order(&[&[1], &[2], &[1, 0]]), [2, 1, 0]);
    }

    #[test]
    fn unreachable_objects_are_not_initialised() {
        assert_eq!(order(&[&[], &[]]), [0]);
    }
}
