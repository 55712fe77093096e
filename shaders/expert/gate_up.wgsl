// ExpertFfn, first products: row p of `out` is pick p's expert times the row of `x` that picked it, times its score.
// The score belongs to the expert's input; the product is linear in it.
#import matmul/params
#import matmul/{layout}
#import expert/table

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x;
    let pick = group.y;
    if o >= params.n_out || pick >= params.rows {
        return;
    }
    let matrix = locate(pick);
    if matrix.x == NONE {
        return;
    }
    let row = pick / params.top_k;
    var sum = product(matrix.x, o, params.x_base + row * params.x_stride) * scores[params.scores_base + pick];
    if matrix.y != NONE {
        sum *= scale[matrix.y + o];
    }
    let to = params.out_base + pick * params.out_stride + o;
    if params.add != 0u {
        sum += out[to];
    }
    out[to] = sum;
}
