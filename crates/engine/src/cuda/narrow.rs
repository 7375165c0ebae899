//! Which values between nodes are kept in bf16 though the plan says f32.
//!
//! A product with compute "bf16" rounds what it reads. A value that such a product makes or reads is kept in bf16 if the kernel that makes it and
//! all that read it know that type: half the bytes are moved, and nothing is rounded once more for a product. It is what the models' own
//! implementation keeps; sums (the residual stream, states) stay f32. A value has the place that the plan gave it, and uses half of it.

use statespace_plan::{Attrs, DType};

use crate::node::{Base, Node, Slot};

/// Inputs of `scan` that have one type: u, dt, B, C, z. The bias of dt.
const TOGETHER: [usize; 5] = [0, 1, 3, 4, 6];
const DT: usize = 1;
const DT_BIAS: usize = 7;
/// The bias of `linear`.
const BIAS: usize = 2;

/// A value of `temp`, by the node that makes it.
struct Value {
    node: usize,
    output: usize,
    /// Nodes and inputs.
    readers: Vec<(usize, usize)>,
}

/// Turns operands to bf16 where they may be: `may` has for each node its inputs and its outputs as bits.
pub(super) fn narrow(nodes: &mut [Node], may: &[[u32; 2]]) {
    let outputs = nodes.iter().enumerate().flat_map(|(node, made)| (0..made.outputs.len()).map(move |output| (node, output)));
    let mut values: Vec<Value> = outputs.filter_map(|(node, output)| Value::new(nodes, may, node, output)).collect();
    // One that stays f32 may be what another would have to be bf16 with.
    let mut before = usize::MAX;
    while values.len() < before {
        before = values.len();
        let fits: Vec<bool> = values.iter().map(|value| value.fits(nodes, &values)).collect();
        let mut fits = fits.into_iter();
        values.retain(|_| fits.next().is_some_and(|fits| fits));
    }
    for value in &values {
        let start = value.slot(nodes).start;
        nodes[value.node].outputs[value.output].dtype = DType::Bf16;
        for &(node, input) in &value.readers {
            if let Some(slot) = &mut nodes[node].inputs[input] {
                (slot.start, slot.dtype) = (start + (slot.start - start) / 2, DType::Bf16);
            }
        }
        value.give_bias(nodes);
    }
}

impl Value {
    /// If its kernels know bf16, and one is that of a product, unless nobody reads it.
    fn new(nodes: &[Node], may: &[[u32; 2]], node: usize, output: usize) -> Option<Value> {
        let mut value = Value { node, output, readers: Vec::new() };
        let slot = value.slot(nodes);
        let is_dense = slot.span == 4 * slot.ld * nodes[node].sizes.b * nodes[node].sizes.l;
        if slot.base != Base::Temp || slot.dtype != DType::F32 || !is_dense || may[node][1] >> output & 1 == 0 {
            return None;
        }
        for (reader, after) in nodes.iter().enumerate().skip(node + 1) {
            for (input, part) in after.inputs.iter().enumerate() {
                let Some(part) = part.as_ref().filter(|part| meet(slot, part)) else { continue };
                if part.start < slot.start || part.dtype != DType::F32 || may[reader][0] >> input & 1 == 0 {
                    return None;
                }
                value.readers.push((reader, input));
            }
            if after.outputs.iter().any(|over| meet(slot, over)) {
                break;
            }
        }
        let is_product = |node: usize| matches!(nodes[node].attrs, Attrs::Linear(_));
        // What nobody reads may be written over what becomes bf16.
        let fits = value.readers.is_empty() || is_product(node) || value.readers.iter().any(|(reader, _)| is_product(*reader));
        fits.then_some(value)
    }

    fn slot<'a>(&self, nodes: &'a [Node]) -> &'a Slot {
        &nodes[self.node].outputs[self.output]
    }

    /// Whether what has to have its type is among these values, too: what a scan takes with it, and what is written over it or it is written over.
    fn fits(&self, nodes: &[Node], values: &[Value]) -> bool {
        let is_read = |node: usize, input: usize| values.iter().any(|value| value.readers.contains(&(node, input)));
        let agrees = |node: usize, input: usize| nodes[node].inputs[input].is_none() || is_read(node, input);
        let slot = self.slot(nodes);
        let alike = |other: &Slot| !meet(slot, other) || (other.start, other.ld) == (slot.start, slot.ld);
        let under = nodes[self.node].inputs.iter().enumerate().all(|(input, other)| {
            let Some(other) = other.as_ref().filter(|other| meet(slot, other)) else { return true };
            alike(other) && is_read(self.node, input)
        });
        let over = |reader: usize| {
            nodes[reader].outputs.iter().enumerate().all(|(output, other)| {
                !meet(slot, other) || alike(other) && values.iter().any(|value| (value.node, value.output) == (reader, output))
            })
        };
        under
            && self.readers.iter().all(|&(reader, _)| {
                let is_scan = matches!(nodes[reader].attrs, Attrs::Scan(_));
                over(reader) && (!is_scan || TOGETHER.iter().all(|&input| agrees(reader, input)))
            })
    }

    /// Leaves the bias of a product that is a scan's dt to the scan, which adds it in f32, before the sum is rounded.
    fn give_bias(&self, nodes: &mut [Node]) {
        let &[(scan, DT)] = &self.readers[..] else { return };
        if matches!((&nodes[self.node].attrs, &nodes[scan].attrs), (Attrs::Linear(_), Attrs::Scan(_)))
            && nodes[scan].inputs[DT_BIAS].is_none()
        {
            nodes[scan].inputs[DT_BIAS] = nodes[self.node].inputs[BIAS].take();
        }
    }
}

/// Whether two operands share bytes.
fn meet(a: &Slot, b: &Slot) -> bool {
    a.base == b.base && a.start < b.start + b.span && b.start < a.start + a.span
}
