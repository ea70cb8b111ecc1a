/// HChaCha20 (draft-irtf-cfrg-xchacha-03, section 2.2): ChaCha's 20 rounds over key and 16 bytes of nonce, without the
/// final addition; words 0-3 and 12-15 are the subkey.
func hChaCha20(key: [UInt8], nonce: ArraySlice<UInt8>) -> [UInt8] {
    precondition(key.count == 32 && nonce.count == 16)
    func words(_ bytes: ArraySlice<UInt8>) -> [UInt32] {
        stride(from: bytes.startIndex, to: bytes.endIndex, by: 4).map { (index: Int) -> UInt32 in
            bytes[index..<index + 4].reversed().reduce(UInt32(0)) { word, byte in word << 8 | UInt32(byte) }
        }
    }
    // "expand 32-byte k"
    var state: [UInt32] = [0x6170_7865, 0x3320_646E, 0x7962_2D32, 0x6B20_6574] + words(key[...]) + words(nonce)
    func rotate(_ word: UInt32, _ bits: UInt32) -> UInt32 { word << bits | word >> (32 - bits) }
    func quarterRound(_ a: Int, _ b: Int, _ c: Int, _ d: Int) {
        state[a] &+= state[b]
        state[d] = rotate(state[d] ^ state[a], 16)
        state[c] &+= state[d]
        state[b] = rotate(state[b] ^ state[c], 12)
        state[a] &+= state[b]
        state[d] = rotate(state[d] ^ state[a], 8)
        state[c] &+= state[d]
        state[b] = rotate(state[b] ^ state[c], 7)
    }
    for _ in 0..<10 {
        for column in 0..<4 { quarterRound(column, column + 4, column + 8, column + 12) }
        quarterRound(0, 5, 10, 15)
        quarterRound(1, 6, 11, 12)
        quarterRound(2, 7, 8, 13)
        quarterRound(3, 4, 9, 14)
    }
    return (state[..<4] + state[12...]).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
}
