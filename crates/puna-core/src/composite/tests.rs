//! Two references behind one device are one reference, and what is mixed up is refused.

use super::*;
use crate::ops::{MatMul, RmsNorm};
use crate::{DType, Mat, RefDevice, Vector};

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
