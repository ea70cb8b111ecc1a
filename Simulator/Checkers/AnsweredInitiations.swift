/// Which of the initiations that had waited in a node it has taken: it answers those, and its counters tell only how many.
///
/// A class, so that changing it is no change in place of what holds it: the optimiser of Swift 6.3 does not stand a closure
/// within one.
final class AnsweredInitiations {
    private static let responseLength = 92

    /// Sender indexes of those that were taken when they came, and whose answers have not left.
    private var arrived: [[UInt8]] = []
    /// That the node came to in this turn, the oldest first.
    private var waited: [[UInt8]] = []

    /// One was taken when it came.
    func tookArrived(_ datagram: UnsafeRawBufferPointer) { arrived.append(Array(datagram[4..<8])) }

    /// The node came to these handshakes, which had waited.
    func cameTo(_ datagrams: [[UInt8]]) {
        waited = datagrams.filter { $0.withUnsafeBytes { HandshakeOnce.isInitiation($0) } }
    }

    /// A datagram leaves the node. Returns the initiation that had waited and is answered by it.
    func sent(_ datagram: UnsafeRawBufferPointer) -> [UInt8]? {
        guard datagram.count == Self.responseLength, datagram[0] == 2 else { return nil }
        let index = datagram[8..<12]
        if let place = arrived.firstIndex(where: { $0.elementsEqual(index) }) {
            arrived.remove(at: place)
            return nil
        }
        guard let place = waited.firstIndex(where: { $0[4..<8].elementsEqual(index) }) else { return nil }
        return waited.remove(at: place)
    }

    /// All that was to be sent has left.
    @inline(__always)
    func turnEnded() {
        if !arrived.isEmpty { arrived.removeAll(keepingCapacity: true) }
        if !waited.isEmpty { waited.removeAll(keepingCapacity: true) }
    }
}
