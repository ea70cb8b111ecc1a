import FabricCore

@testable import FabricPacket

/// IP packets written field by field, with checksums summed byte by byte: what splitting and joining are compared with.
struct ReferencePacket: Equatable {
    var isV6 = false
    var isTCP = true
    var source: UInt8 = 1
    var destination: UInt8 = 2
    var ports: (UInt16, UInt16) = (4000, 5201)
    var trafficClass: UInt8 = 0
    var hopLimit: UInt8 = 64
    var identification: UInt16 = 7
    var dontFragment = true
    var sequence: UInt32 = 1000
    var acknowledgement: UInt32 = 77
    var flags: UInt8 = 0x10
    var window: UInt16 = 512
    /// Of TCP, in multiples of four.
    var options: [UInt8] = []
    var payload: [UInt8] = []

    static func == (a: ReferencePacket, b: ReferencePacket) -> Bool { a.bytes == b.bytes }

    var transport: Int { isV6 ? 40 : 20 }
    var headers: Int { transport + (isTCP ? 20 + options.count : 8) }
    var length: Int { headers + payload.count }
    private var addresses: [UInt8] {
        let width = isV6 ? 16 : 4
        func address(_ last: UInt8) -> [UInt8] {
            (isV6 ? [0xFD, 0] : [10, 0]) + [UInt8](repeating: 0, count: width - 3) + [last]
        }
        return address(source) + address(destination)
    }

    private static func big(_ value: Int, _ width: Int) -> [UInt8] {
        (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * (width - 1 - $0))) }
    }

    static func sum(_ bytes: [UInt8]) -> UInt16 {
        var total: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            total += UInt32(bytes[index]) << 8 | UInt32(index + 1 < bytes.count ? bytes[index + 1] : 0)
            total = (total & 0xFFFF) + total >> 16
        }
        return UInt16(total)
    }

    private var pseudo: [UInt8] {
        addresses + Self.big(length - transport, 4) + [0, 0, 0, isTCP ? 6 : 17]
    }

    private var ip: [UInt8] {
        if isV6 {
            return [0x60 | trafficClass >> 4, trafficClass << 4, 0, 0] + Self.big(length - 40, 2)
                + [isTCP ? 6 : 17, hopLimit] + addresses
        }
        var header =
            [0x45, trafficClass] + Self.big(length, 2) + Self.big(Int(identification), 2)
            + [dontFragment ? 0x40 : 0, 0, hopLimit, isTCP ? 6 : 17, 0, 0] + addresses
        let checksum = ~Self.sum(header)
        header.replaceSubrange(10..<12, with: Self.big(Int(checksum), 2))
        return header
    }

    private func transportBytes(checksum: UInt16) -> [UInt8] {
        let ports = Self.big(Int(ports.0), 2) + Self.big(Int(ports.1), 2)
        if !isTCP { return ports + Self.big(length - transport, 2) + Self.big(Int(checksum), 2) + payload }
        return ports + Self.big(Int(sequence), 4) + Self.big(Int(acknowledgement), 4)
            + [UInt8((20 + options.count) / 4) << 4, flags] + Self.big(Int(window), 2) + Self.big(Int(checksum), 2)
            + [0, 0] + options + payload
    }

    /// The packet as it travels.
    var bytes: [UInt8] {
        let checksum = ~Self.sum(pseudo + transportBytes(checksum: 0))
        return ip + transportBytes(checksum: !isTCP && checksum == 0 ? 0xFFFF : checksum)
    }

    /// The packet as the kernel gives it with its checksum left to be completed.
    var partial: [UInt8] { ip + transportBytes(checksum: Self.sum(pseudo)) }

    func virtio(segmentSize: Int) -> VirtioHeader {
        let type: VirtioHeader.Segmentation = segmentSize == 0 ? .none : !isTCP ? .udp : isV6 ? .tcp6 : .tcp4
        return VirtioHeader(
            flags: 1, type: type.rawValue, headerLength: UInt16(headers), segmentSize: UInt16(segmentSize),
            checksumStart: UInt16(transport), checksumOffset: isTCP ? 16 : 6)
    }

    /// The packets that this super-packet stands for.
    func segments(_ size: Int) -> [ReferencePacket] {
        let starts = Array(stride(from: 0, to: payload.count, by: size))
        return starts.enumerated().map { index, start in
            var one = self
            one.payload = Array(payload[start..<min(start + size, payload.count)])
            one.identification = identification &+ UInt16(index)
            one.sequence = sequence &+ UInt32(start)
            if index > 0 { one.flags &= ~0x80 }
            if index < starts.count - 1 { one.flags &= ~0x09 }
            return one
        }
    }

    static func random(_ random: SeededRandom, payload: Int) -> ReferencePacket {
        var packet = ReferencePacket()
        packet.isV6 = random.below(2) == 0
        packet.isTCP = random.below(2) == 0
        packet.trafficClass = UInt8(random.below(256))
        packet.identification = UInt16(random.below(65_536))
        packet.dontFragment = random.below(2) == 0
        packet.sequence = UInt32(truncatingIfNeeded: random.uint64())
        packet.flags = [0x10, 0x18, 0x11, 0x90][random.below(4)]
        if packet.isTCP { packet.options = random.bytes(4 * random.below(11)) }
        packet.payload = random.bytes(payload)
        return packet
    }
}

extension SeededRandom {
    func below(_ bound: Int) -> Int { Int(uint64() % UInt64(bound)) }
}

/// Splits as a driver does; the bytes stand in memory of exactly their size.
func split(_ header: VirtioHeader, _ bytes: [UInt8]) throws(SuperPacket.Refusal) -> [[UInt8]] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    let parts = try SuperPacket(header, UnsafeRawBufferPointer(rebasing: memory[..<bytes.count]))
    var result: [[UInt8]] = []
    for index in 0..<parts.segmentCount {
        let length = parts.length(of: index)
        let place = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 1)
        defer { place.deallocate() }
        precondition(parts.write(index, to: place) == length)
        result.append(Array(UnsafeRawBufferPointer(start: place, count: length)))
    }
    return result
}
