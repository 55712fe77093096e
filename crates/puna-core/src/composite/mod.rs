//! Several devices behind one: each holds some of the weights, and an op runs where its operands are.

mod local;
#[cfg(test)]
mod tests;

use crate::ops::CopyRows;
use crate::{Buf, Device, DeviceError, DeviceInfo, Elem, Op, OpTime, Place, Region, Rows, Weight};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use local::Local;

/// The place of a handle is in its upper bits, the handle that the device itself gave in the others.
const PLACE_SHIFT: u32 = 28;
/// As many devices as those bits can tell apart.
const MAX_DEVICES: usize = 1 << (u32::BITS - PLACE_SHIFT);

/// Owns several devices under one space of handles. Device number `n` is [`Place`] `n`; what is loaded or allocated
/// without a place goes to the first.
///
/// All operands of an op must be at one place, except those of [`CopyRows`], which moves rows between devices through
/// the host. When ops begin to go to another device, the one before is [flushed](Device::flush), so that both work at
/// once until rows are moved back.
pub struct Composite {
    devices: Vec<Box<dyn Device>>,
    /// The device that ops went to last, which may have recorded some.
    last: usize,
    /// Handles of the op under way, as its device knows them.
    local: Local,
    /// Rows on their way between devices.
    host: Vec<f32>,
    /// A buffer of each device where rows that are to be added arrive, and its length.
    landings: Vec<Option<(Buf, usize)>>,
    moves: u64,
    moved_bytes: u64,
}

impl Composite {
    /// Takes devices that hold nothing.
    ///
    /// # Errors
    /// [`DeviceError::Range`] for none, or for more than 16.
    pub fn new(devices: Vec<Box<dyn Device>>) -> Result<Self, DeviceError> {
        if devices.is_empty() || devices.len() > MAX_DEVICES {
            let (limit, found) = (MAX_DEVICES as u64 + 1, devices.len() as u64);
            return Err(DeviceError::Range { op: "Composite", what: "devices", limit, found });
        }
        let landings = devices.iter().map(|_| None).collect();
        let (local, host) = (Local::default(), Vec::new());
        Ok(Composite { devices, last: 0, local, host, landings, moves: 0, moved_bytes: 0 })
    }

    /// The devices, by place.
    pub fn devices(&self) -> impl Iterator<Item = &dyn Device> {
        self.devices.iter().map(|device| &**device)
    }

    fn at(&mut self, op: &'static str, place: usize) -> Result<&mut Box<dyn Device>, DeviceError> {
        self.devices.get_mut(place).ok_or(DeviceError::Handle { op, what: "place" })
    }

    /// Moves rows from one device to another.
    fn carry(&mut self, op: &CopyRows) -> Result<(), DeviceError> {
        const OP: &str = "CopyRows";
        let ((a, from), (b, to)) = (split_rows(op.from), split_rows(op.to));
        let len = from.len();
        let mut host = core::mem::take(&mut self.host);
        let more = len.saturating_sub(host.len());
        if host.len() < len {
            host.try_reserve_exact(more).map_err(|_| DeviceError::out_of_memory(Elem::F32, len))?;
            host.resize(len, 0.0);
        }
        let rows = host.get_mut(..len).unwrap_or_default();
        let mut carried = self.at(OP, a)?.read(&from, rows);
        if carried.is_ok() {
            carried = self.land(b, to, rows, op.add);
        }
        self.host = host;
        self.moves += 1;
        self.moved_bytes += len as u64 * 4;
        carried
    }

    /// Writes rows of the host to a device, or adds them.
    fn land(&mut self, place: usize, to: Rows, rows: &[f32], add: bool) -> Result<(), DeviceError> {
        const OP: &str = "CopyRows";
        if !add {
            return self.at(OP, place)?.write(to.buf, to.offset, rows);
        }
        let held = self.landings.get(place).copied().flatten();
        let buf = match held.filter(|(_, held)| *held >= rows.len()) {
            Some((buf, _)) => buf,
            None => {
                let device = self.at(OP, place)?;
                let buf = device.alloc(Elem::F32, rows.len())?;
                if let Some((old, _)) = held {
                    device.free(old);
                }
                if let Some(landing) = self.landings.get_mut(place) {
                    *landing = Some((buf, rows.len()));
                }
                buf
            }
        };
        let device = self.at(OP, place)?;
        device.write(buf, 0, rows)?;
        let from = Rows::new(buf, to.n_rows, to.width);
        device.issue(&CopyRows { from, to, add }.into())
    }
}

/// The place of a handle, and what its device calls it.
const fn split(handle: u32) -> (usize, u32) {
    ((handle >> PLACE_SHIFT) as usize, handle & ((1 << PLACE_SHIFT) - 1))
}

fn split_rows(rows: Rows) -> (usize, Rows) {
    let (place, buf) = split(rows.buf.0);
    (place, Rows { buf: Buf(buf), ..rows })
}

/// A device's handle with its place.
fn join(place: Place, handle: u32) -> Result<u32, DeviceError> {
    match handle >> PLACE_SHIFT {
        0 => Ok(u32::from(place.0) << PLACE_SHIFT | handle),
        _ => {
            let (limit, found) = (1 << PLACE_SHIFT, u64::from(handle));
            Err(DeviceError::Range { op: "Composite", what: "handle", limit, found })
        }
    }
}

impl Device for Composite {
    fn info(&self) -> DeviceInfo {
        let mut all = DeviceInfo { name: String::new(), kernels: Vec::new() };
        for info in self.devices.iter().map(|device| device.info()) {
            if !all.name.is_empty() {
                all.name += " and ";
            }
            all.name += &info.name;
            all.kernels.extend(info.kernels);
        }
        all
    }

    fn far(&self, buf: Buf) -> bool {
        let (place, buf) = split(buf.0);
        self.devices.get(place).is_some_and(|device| device.far(Buf(buf)))
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.load_at(Place(0), region)
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.alloc_at(Place(0), elem, len)
    }

    fn load_at(&mut self, place: Place, region: &Region) -> Result<Weight, DeviceError> {
        let weight = self.at("load", place.0.into())?.load(region)?;
        join(place, weight.0).map(Weight)
    }

    fn load_in_steps(
        &mut self,
        place: Place,
        region: &Region,
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Weight, DeviceError> {
        let weight = self.at("load", place.0.into())?.load_in_steps(Place(0), region, step)?;
        join(place, weight.0).map(Weight)
    }

    fn load_together(
        &mut self,
        place: Place,
        regions: &[Region],
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Weight>, DeviceError> {
        let weight = self.at("load", place.0.into())?.load_together(Place(0), regions, step)?;
        weight.map(|weight| join(place, weight.0).map(Weight)).transpose()
    }

    fn alloc_at(&mut self, place: Place, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        let buf = self.at("alloc", place.0.into())?.alloc(elem, len)?;
        join(place, buf.0).map(Buf)
    }

    fn free(&mut self, buf: Buf) {
        let (place, buf) = split(buf.0);
        if let Some(device) = self.devices.get_mut(place) {
            device.free(Buf(buf));
        }
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        let (place, to) = split(to.0);
        self.at("write", place)?.write(Buf(to), at, values)
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        if let Op::CopyRows(copy) = op
            && split_rows(copy.from).0 != split_rows(copy.to).0
        {
            op.check()?;
            return self.carry(copy);
        }
        let (devices, last) = (&mut self.devices, &mut self.last);
        self.local.with(op, |place, op| {
            if place != *last {
                if let Some(device) = devices.get_mut(*last) {
                    device.flush()?;
                }
                *last = place;
            }
            let device = devices.get_mut(place);
            device.ok_or(DeviceError::Handle { op: op.name(), what: "place" })?.issue(op)
        })
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        let (place, from) = split_rows(*from);
        self.at("read", place)?.read(&from, into)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.devices.iter_mut().try_for_each(|device| device.flush())
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = Vec::from([("moves", self.moves), ("moved bytes", self.moved_bytes)]);
        for (name, value) in self.devices.iter().flat_map(|device| device.counters()) {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value,
                None => all.push((name, value)),
            }
        }
        all
    }

    fn profile(&mut self, on: bool) -> Result<bool, DeviceError> {
        let mut any = false;
        for device in &mut self.devices {
            any |= device.profile(on)?;
        }
        Ok(any)
    }

    fn times(&mut self) -> Result<Vec<OpTime>, DeviceError> {
        let mut all = Vec::new();
        for device in &mut self.devices {
            all.extend(device.times()?);
        }
        all.sort_by_key(|time| core::cmp::Reverse(time.nanoseconds));
        Ok(all)
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        let devices = self.devices.iter().map(|device| device.fork()).collect::<Result<_, _>>()?;
        Ok(Box::new(Composite {
            devices,
            last: 0,
            local: Local::default(),
            host: Vec::new(),
            landings: self.landings.clone(),
            moves: 0,
            moved_bytes: 0,
        }))
    }
}
