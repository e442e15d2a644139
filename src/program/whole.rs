//! The whole: all objects in load order, and which of them take part in symbol lookup.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::{Object, ObjectId, Origin, SearchNotes};

/// A program with everything that is loaded for it.
#[derive(Debug, Default)]
pub struct Program {
    /// Boxed, so that an object stays where it is while the list grows.
    #[expect(clippy::vec_box, reason = "see above")]
    objects: Vec<Box<Object>>,
    notes: Vec<SearchNotes>,
}

impl Program {
    /// Without objects yet, and with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self { objects: Vec::with_capacity(count), notes: Vec::with_capacity(count) }
    }

    /// Adds an object at the end of the load order.
    pub fn add(&mut self, object: Box<Object>) -> ObjectId {
        let id = ObjectId(self.objects.len() as u32);
        self.objects.push(object);
        self.notes.push(SearchNotes::default());
        id
    }

    /// Removes the objects from `first` on.
    pub fn truncate(&mut self, first: ObjectId) -> impl Iterator<Item = Box<Object>> + '_ {
        self.notes.truncate(first.index());
        self.objects.drain(first.index()..)
    }

    /// All objects in load order.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.iter().map(Box::as_ref)
    }

    /// What the search remembers of an object.
    pub fn notes(&self, id: ObjectId) -> &SearchNotes {
        &self.notes[id.index()]
    }

    /// The same, to be changed.
    pub fn notes_mut(&mut self, id: ObjectId) -> &mut SearchNotes {
        &mut self.notes[id.index()]
    }

    /// All objects in load order, with their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ObjectId, &Object)> {
        self.objects.iter().enumerate().map(|(index, object)| (ObjectId(index as u32), &**object))
    }

    /// All ids in load order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ObjectId> + use<> {
        (0..self.objects.len() as u32).map(ObjectId)
    }

    /// libc, once something asked for it.
    pub fn libc(&self) -> Option<ObjectId> {
        self.iter().find(|(_, object)| object.origin == Origin::Libc).map(|(id, _)| id)
    }

    /// The objects that musl's link map has: all but this loader, whose part libc plays there.
    pub fn visible(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.iter().filter(|(_, object)| object.origin != Origin::Loader)
    }
}

impl Index<ObjectId> for Program {
    type Output = Object;

    fn index(&self, id: ObjectId) -> &Object {
        &self.objects[id.index()]
    }
}

impl IndexMut<ObjectId> for Program {
    fn index_mut(&mut self, id: ObjectId) -> &mut Object {
        &mut self.objects[id.index()]
    }
}
