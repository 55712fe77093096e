// A matrix stored [n_in, n_out], plain formats only: neighbouring outputs are neighbours in memory.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}

// The sum over the inputs of x[at ..] * w[..][o], for the matrix whose first byte is `matrix`.
fn product(matrix: u32, o: u32, at: u32) -> f32 {
    var value = matrix + o * VALUE_BYTES;
    var sum = 0.0;
    for (var i = 0u; i < params.n_in; i++) {
        sum += decode(value) * x[at + i];
        value += params.w_stride;
    }
    return sum;
}
