//! Two references behind one device are one reference, and what is mixed up is refused.

extern crate std;

use super::*;
use crate::ops::{MatMul, RmsNorm};
use crate::{DType, Mat, RefDevice, Vector};
use std::sync::{Arc, Mutex};

fn region(values: &[f32]) -> Region {
    Region::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn two() -> Composite {
    Composite::new(Vec::from([Box::new(RefDevice::new()) as Box<dyn Device>, Box::new(RefDevice::new())]))
        .unwrap()
}

fn rows(d: &mut Composite, place: u16, values: &[f32]) -> Rows {
    let buf = d.alloc_at(Place(place), Elem::F32, values.len()).unwrap();
    d.write(buf, 0, values).unwrap();
    Rows::new(buf, 1, values.len())
}

fn read(d: &mut dyn Device, rows: &Rows) -> Vec<f32> {
    let mut values = alloc::vec![0.0; rows.len()];
    d.read(rows, &mut values).unwrap();
    values
}

#[test]
fn ops_run_where_their_operands_are() {
    let mut d = two();
    for place in [1, 0, 1] {
        let weight = d.load_at(Place(place), &region(&[1.0, 0.0, 2.0, 0.0, 3.0, 0.0])).unwrap();
        let w = Mat::plain(weight, DType::F32, 2, 3);
        let (x, out) = (rows(&mut d, place, &[1.0, 2.0, 3.0]), rows(&mut d, place, &[0.0; 2]));
        d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap();
        assert_eq!(read(&mut d, &out), [7.0, 6.0], "{place}");
    }
}

#[test]
fn rows_move_and_add_between_places() {
    let mut d = two();
    let (a, b) = (rows(&mut d, 0, &[1.0, 2.0, 3.0]), rows(&mut d, 1, &[10.0, 20.0, 30.0]));
    d.issue(&CopyRows { from: a, to: b, add: true }.into()).unwrap();
    assert_eq!(read(&mut d, &b), [11.0, 22.0, 33.0]);
    let one = |rows: Rows| Rows { offset: 1, width: 2, ..rows };
    d.issue(&CopyRows { from: one(b), to: one(a), add: false }.into()).unwrap();
    assert_eq!(read(&mut d, &a), [1.0, 22.0, 33.0]);
    let here = rows(&mut d, 1, &[0.0; 3]);
    d.issue(&CopyRows { from: b, to: here, add: false }.into()).unwrap();
    assert_eq!(read(&mut d, &here), [11.0, 22.0, 33.0]);
    assert_eq!(d.counters(), [("moves", 2), ("moved bytes", 20)]);
    assert_eq!(
        d.issue(&CopyRows { from: a, to: a, add: true }.into()),
        Err(DeviceError::Aliased { op: "CopyRows" })
    );
}

#[test]
fn operands_at_several_places_are_refused() {
    let mut d = two();
    let weight = d.load_at(Place(1), &region(&[1.0; 3])).unwrap();
    let weight = Vector { weight, offset: 0, len: 3 };
    let (x, out) = (rows(&mut d, 1, &[1.0; 3]), rows(&mut d, 0, &[5.0; 3]));
    let error = d.issue(&RmsNorm { x, weight, eps: 0.0, out }.into()).unwrap_err();
    assert_eq!(error, DeviceError::Handle { op: "RmsNorm", what: "an operand at another place" });
    assert_eq!(read(&mut d, &out), [5.0; 3]);
    d.load_at(Place(2), &region(&[1.0])).unwrap_err();
    d.read(&Rows::new(Buf(7 << PLACE_SHIFT), 1, 1), &mut [0.0]).unwrap_err();
    assert!(Composite::new(Vec::new()).is_err());
}

#[test]
fn forks_keep_every_handle() {
    let mut d = two();
    let (a, b) = (rows(&mut d, 0, &[1.0]), rows(&mut d, 1, &[2.0]));
    d.issue(&CopyRows { from: a, to: b, add: true }.into()).unwrap();
    let mut fork = d.fork().unwrap();
    fork.issue(&CopyRows { from: b, to: a, add: true }.into()).unwrap();
    fork.issue(&CopyRows { from: a, to: b, add: true }.into()).unwrap();
    assert_eq!((read(&mut *fork, &a), read(&mut *fork, &b)), (Vec::from([4.0]), Vec::from([7.0])));
    assert_eq!((read(&mut d, &a), read(&mut d, &b)), (Vec::from([1.0]), Vec::from([3.0])));
}

/// A reference that notes what it is asked, in one list for all places.
#[derive(Clone)]
struct Noted {
    inner: RefDevice,
    place: u16,
    notes: Arc<Mutex<Vec<(u16, &'static str)>>>,
}

impl Noted {
    fn note(&self, what: &'static str) {
        self.notes.lock().unwrap().push((self.place, what));
    }
}

impl Device for Noted {
    fn info(&self) -> DeviceInfo {
        self.inner.info()
    }
    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.inner.load(region)
    }
    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.inner.alloc(elem, len)
    }
    fn free(&mut self, buf: Buf) {
        self.inner.free(buf);
    }
    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.note("write");
        self.inner.write(to, at, values)
    }
    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        self.note(op.name());
        self.inner.issue(op)
    }
    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.note("read");
        self.inner.read(from, into)
    }
    fn flush(&mut self) -> Result<(), DeviceError> {
        self.note("flush");
        Ok(())
    }
    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(self.clone()))
    }
}

/// The order of a layer whose routed experts are elsewhere: what the first device was given before begins to run when the
/// second begins, and is not waited for until rows come back and are read.
#[test]
fn devices_work_at_once() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let device =
        |place| Box::new(Noted { inner: RefDevice::new(), place, notes: notes.clone() }) as Box<dyn Device>;
    let mut d = Composite::new(Vec::from([device(0), device(1)])).unwrap();
    let (y, h) = (rows(&mut d, 0, &[1.0, -2.0]), rows(&mut d, 0, &[0.0; 2]));
    let (x, sum) = (rows(&mut d, 1, &[0.0; 2]), rows(&mut d, 1, &[0.0; 2]));
    notes.lock().unwrap().clear();
    d.issue(&CopyRows { from: y, to: x, add: false }.into()).unwrap();
    d.issue(&CopyRows { from: y, to: h, add: false }.into()).unwrap(); // the shared expert
    d.issue(&CopyRows { from: x, to: sum, add: false }.into()).unwrap(); // the routed ones
    d.issue(&CopyRows { from: sum, to: h, add: true }.into()).unwrap();
    let expected = [
        (0, "read"),
        (1, "write"),
        (0, "CopyRows"),
        (0, "flush"),
        (1, "CopyRows"),
        (1, "read"),
        (0, "write"),
        (0, "CopyRows"),
    ];
    assert_eq!(*notes.lock().unwrap(), expected);
    assert_eq!(read(&mut d, &h), [2.0, -4.0]);
}
