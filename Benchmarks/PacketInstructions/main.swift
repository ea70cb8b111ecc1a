// Operations of the packet path, so many times and nothing else, for `run` beside this file, which counts instructions.
//
//     PacketInstructions                      prints the names of the cases
//     PacketInstructions CASE COUNT           runs the operation COUNT times, with the packets' cipher left out
//     PacketInstructions CASE COUNT openssl   with OpenSSL's
//
// What is done before the operation does not depend on COUNT, so that the difference of two runs is operations alone.
// Everything follows from a seed.

internal import FabricCore
internal import FabricCrypto
internal import FabricPacket
internal import FabricTunnel
internal import Glibc

/// The most operations of a run.
let greatestCount = 1200
/// Packets that a driver handles before it writes them out.
let packetsPerTurn = 40
let segmentPayload = 1368

/// Leaves the packets as they are: what is left is our own.
final class NoCipher: PacketCipher, PacketKey {
    let name = "none"
    /// What it says of every packet.
    var isGenuine = true
    func key(_ key: [UInt8]) -> any PacketKey { self }
    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {}
    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool { isGenuine }
}

// MARK: Packets

func store16(_ value: Int, _ place: UnsafeMutableRawPointer) {
    place.storeBytes(of: UInt16(value).bigEndian, as: UInt16.self)
}

/// Writes a super-packet of one turn's segments and returns its length: TCP over IPv4, or UDP over IPv6. As from the kernel,
/// its transport checksum is the pseudo header's sum.
func writeSuperPacket(_ place: UnsafeMutableRawPointer, isTCP: Bool) -> (length: Int, header: VirtioHeader) {
    let (network, transport) = (isTCP ? 20 : 40, isTCP ? 20 : 8)
    let length = network + transport + packetsPerTurn * segmentPayload
    place.initializeMemory(as: UInt8.self, repeating: 0, count: length)
    for offset in network + transport..<length {
        place.storeBytes(of: UInt8(truncatingIfNeeded: offset &* 31), toByteOffset: offset, as: UInt8.self)
    }
    var pseudo = UInt64(UInt16(isTCP ? 6 : 17).bigEndian) + UInt64(UInt16(length - network).bigEndian)
    if isTCP {
        place.storeBytes(of: 0x45, as: UInt8.self)
        store16(length, place + 2)
        store16(0x4000, place + 6)
        store16(64 << 8 | 6, place + 8)
        place.storeBytes(of: UInt32(0x0A00_0001).bigEndian, toByteOffset: 12, as: UInt32.self)
        place.storeBytes(of: UInt32(0x0A00_0002).bigEndian, toByteOffset: 16, as: UInt32.self)
        pseudo = InternetChecksum.sum(place + 12, count: 8, initial: pseudo)
        store16(5 << 12 | 0x10, place + network + 12)
    } else {
        place.storeBytes(of: 0x60, as: UInt8.self)
        store16(length - network, place + 4)
        store16(17 << 8 | 64, place + 6)
        for (offset, last) in [(8, UInt8(1)), (24, 2)] {
            place.storeBytes(of: 0xFD, toByteOffset: offset, as: UInt8.self)
            place.storeBytes(of: last, toByteOffset: offset + 15, as: UInt8.self)
        }
        pseudo = InternetChecksum.sum(place + 8, count: 32, initial: pseudo)
        store16(length - network, place + network + 4)
    }
    store16(4000, place + network)
    store16(5201, place + network + 2)
    let offset = isTCP ? 16 : 6
    place.storeBytes(of: InternetChecksum.fold(pseudo), toByteOffset: network + offset, as: UInt16.self)
    let kind: VirtioHeader.Segmentation = isTCP ? .tcp4 : .udp
    let header = VirtioHeader(
        flags: 1, type: kind.rawValue, headerLength: UInt16(network + transport), segmentSize: UInt16(segmentPayload),
        checksumStart: UInt16(network), checksumOffset: UInt16(offset))
    return (length, header)
}

/// An IPv4 packet of `length` bytes from 10.0.0.1 to 10.0.0.2.
func writePacket(_ place: UnsafeMutableRawPointer, length: Int) {
    place.initializeMemory(as: UInt8.self, repeating: 0, count: length)
    place.storeBytes(of: 0x45, as: UInt8.self)
    store16(length, place + 2)
    place.storeBytes(of: UInt32(0x0A00_0001).bigEndian, toByteOffset: 12, as: UInt32.self)
    place.storeBytes(of: UInt32(0x0A00_0002).bigEndian, toByteOffset: 16, as: UInt32.self)
}

// MARK: Cases

/// Two endpoints with a session, and a packet for each operation in memory of its own, as a driver has them.
struct Ends {
    static let stride = 1536
    static let room = 16
    let tunnels: [TunnelEndpoint]
    let addresses = [Endpoint("192.0.2.1:1")!, Endpoint("192.0.2.2:2")!]
    let domain: DomainHandle
    let now = Now(monotonic: Instant(nanoseconds: 1), wall: WallTime(seconds: 1_800_000_000))
    let memory: UnsafeMutableRawPointer
    let length: Int

    init(_ length: Int, _ cipher: any PacketCipher) {
        self.length = length
        let id = RoutingDomainID("bench")!
        let random = SeededRandom(seed: 1, stream: "tunnels")
        tunnels = (0..<2).map { _ in
            TunnelEndpoint(
                cryptography: SystemCryptography(packetCipher: cipher), random: random, limits: .default)
        }
        for tunnel in tunnels { tunnel.addDomain(id: id, privateKey: random.bytes(32), mtu: 1420) }
        for index in 0..<2 {
            let peer = tunnels[index].addPeer(
                domain: id,
                PeerConfiguration(
                    publicKey: tunnels[1 - index].publicKey(of: id)!, presharedKey: nil,
                    allowedIPs: [IPPrefix("10.0.0.\(2 - index)/32")!], endpoint: addresses[1 - index],
                    persistentKeepalive: nil))
            precondition(peer != nil)
        }
        domain = tunnels[0].domain(id)!
        memory = .allocate(byteCount: greatestCount * Ends.stride, alignment: 64)
        for index in 0..<greatestCount {
            writePacket(memory + index * Ends.stride + Ends.room, length: length)
        }
        var buffer = PacketBuffer(packetCapacity: 2048)
        writePacket(buffer.writableArea().baseAddress!, length: length)
        buffer.count = length
        _ = tunnels[0].send(domain: domain, &buffer, now: now)
        // Initiation, response, then the staged packet.
        for turn in 0..<3 {
            let endpoint = tunnels[turn % 2].nextTransmit(into: &buffer)
            precondition(endpoint != nil)
            _ = tunnels[1 - turn % 2].receive(&buffer, from: addresses[turn % 2], now: now)
        }
    }

    func seal(_ count: Int) -> Int {
        var bytes = 0
        for index in 0..<count {
            var packet = PacketBuffer(
                viewing: memory + index * Ends.stride, capacity: Ends.stride, start: Ends.room, count: length)
            guard case .transmit = tunnels[0].send(domain: domain, &packet, now: now) else { fatalError("not sent") }
            bytes += packet.count
        }
        return bytes
    }

    func open(_ count: Int) -> Int {
        let datagram = (length + 15) / 16 * 16
        var bytes = 0
        for index in 0..<count {
            var packet = PacketBuffer(
                viewing: memory + index * Ends.stride, capacity: Ends.stride, start: 0,
                count: min(datagram, 1420) + 32)
            guard case .packet = tunnels[1].receive(&packet, from: addresses[0], now: now) else {
                fatalError("not received")
            }
            bytes += packet.count
        }
        return bytes
    }
}

/// What comes from somebody who means harm, the same datagram each time; an operation is one that is dropped.
func drop(_ count: Int, _ cipher: any PacketCipher, _ reason: DropReason) -> Int {
    let ends = Ends(1420, cipher)
    let random = SeededRandom(seed: 3, stream: "garbage")
    let memory = ends.memory
    switch reason {
    case .unknownReceiverIndex, .malformedMessage:
        memory.copyMemory(from: [reason == .malformedMessage ? 9 : 4, 0, 0, 0] + random.bytes(1448), byteCount: 1452)
    case .invalidMAC1: memory.copyMemory(from: [1, 0, 0, 0] + random.bytes(144), byteCount: 148)
    case .replayed:
        _ = ends.seal(1)
        _ = ends.open(1)
    default:
        _ = ends.seal(1)
        // Its tag is wrong; the counter is that of a packet that has not come.
        memory.storeBytes(of: 0x55, toByteOffset: 1451, as: UInt8.self)
        (cipher as? NoCipher)?.isGenuine = false
    }
    let length = reason == .invalidMAC1 ? 148 : 1452
    var transmits = PacketBuffer(packetCapacity: 2048)
    var dropped = 0
    for _ in 0..<count {
        var packet = PacketBuffer(viewing: memory, capacity: Ends.stride, start: 0, count: length)
        if ends.tunnels[1].receive(&packet, from: ends.addresses[0], now: ends.now) == .dropped(reason) { dropped += 1 }
        // A turn of its own: a portion of handshakes is worked on in each.
        _ = ends.tunnels[1].nextTransmit(into: &transmits)
    }
    precondition(dropped == count, "\(reason): \(dropped) of \(count)")
    return dropped
}

/// Splits one turn's super-packet again and again, into runs; an operation is a segment.
func split(_ count: Int, isTCP: Bool) -> Int {
    let source = UnsafeMutableRawPointer.allocate(byteCount: 65_536, alignment: 64)
    let place = UnsafeMutableRawPointer.allocate(byteCount: 2 * 65_536, alignment: 64)
    let (length, header) = writeSuperPacket(source, isTCP: isTCP)
    let endpoint = Endpoint("192.0.2.2:2")!
    var runs = DatagramRuns(capacity: 64, joins: true)
    var bytes = 0
    for _ in 0..<count / packetsPerTurn {
        guard let parts = try? SuperPacket(header, UnsafeRawBufferPointer(start: source, count: length)) else {
            fatalError("refused")
        }
        var cursor = place
        for index in 0..<parts.segmentCount {
            let length = parts.write(index, to: cursor + 16) + 32
            runs.append(cursor, length: length, to: endpoint)
            cursor += length
        }
        for index in 0..<runs.count { bytes += runs[index].length }
        runs.removeAll()
    }
    return bytes
}

/// Joins packets, a turn's at once; an operation is a packet.
func join(_ count: Int, isTCP: Bool) -> Int {
    let source = UnsafeMutableRawPointer.allocate(byteCount: 65_536, alignment: 64)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: greatestCount * Ends.stride, alignment: 64)
    let (length, header) = writeSuperPacket(source, isTCP: isTCP)
    guard let parts = try? SuperPacket(header, UnsafeRawBufferPointer(start: source, count: length)) else {
        fatalError("refused")
    }
    for index in 0..<greatestCount {
        _ = parts.write(index % packetsPerTurn, to: memory + index * Ends.stride + Ends.room)
    }
    var coalescer = Coalescer(capacity: 64, kinds: [.tcp, .udp])
    var pieces = 0
    for turn in 0..<count / packetsPerTurn {
        for index in 0..<packetsPerTurn {
            let place = memory + (turn * packetsPerTurn + index) * Ends.stride + Ends.room
            coalescer.append(place, count: parts.length(of: index))
        }
        for index in 0..<coalescer.count { pieces += coalescer.slices(of: index, virtio: true).count }
        precondition(coalescer.count == 1, "all of a turn's packets belong together")
        coalescer.removeAll()
    }
    return pieces
}

/// Looks addresses up among as many prefixes; each address has one.
func lookup(_ count: Int, prefixes: Int) -> Int {
    let random = SeededRandom(seed: 2, stream: "prefixes")
    var table = AllowedIPs()
    var addresses: [IPAddress] = []
    for index in 0..<prefixes {
        // A quarter of a million /24s in 10/8 and above: neighbours share much, as in a company's networks.
        let network = UInt32(10 << 24) &+ UInt32(truncatingIfNeeded: random.uint64() % (1 << 18)) << 8
        table.insert(IPPrefix(IPAddress(v4: network), length: 24)!, peer: index)
        if addresses.count < greatestCount { addresses.append(IPAddress(v4: network | 7)) }
    }
    var found = 0
    for index in 0..<count where table.lookup(addresses[index % addresses.count]) != nil { found += 1 }
    precondition(found == count)
    return found
}

struct Case {
    var name: String
    /// Whether it seals or opens, so that a cipher makes a difference.
    var seals: Bool
    var run: (_ count: Int, _ cipher: any PacketCipher) -> Int
}

let cases = [
    Case(name: "seal-1420", seals: true) { Ends(1420, $1).seal($0) },
    Case(name: "seal-64", seals: true) { Ends(64, $1).seal($0) },
    Case(name: "open-1420", seals: true) {
        let ends = Ends(1420, $1)
        _ = ends.seal(greatestCount)
        return ends.open($0)
    },
    Case(name: "open-64", seals: true) {
        let ends = Ends(64, $1)
        _ = ends.seal(greatestCount)
        return ends.open($0)
    },
    Case(name: "drop-noise", seals: false) { drop($0, $1, .malformedMessage) },
    Case(name: "drop-no-session", seals: false) { drop($0, $1, .unknownReceiverIndex) },
    Case(name: "drop-replayed", seals: false) { drop($0, $1, .replayed) },
    Case(name: "drop-forged", seals: true) { drop($0, $1, .notAuthentic) },
    Case(name: "drop-mac1", seals: false) { drop($0, $1, .invalidMAC1) },
    Case(name: "split-tcp4", seals: false) { count, _ in split(count, isTCP: true) },
    Case(name: "split-udp6", seals: false) { count, _ in split(count, isTCP: false) },
    Case(name: "join-tcp4", seals: false) { count, _ in join(count, isTCP: true) },
    Case(name: "join-udp6", seals: false) { count, _ in join(count, isTCP: false) },
    Case(name: "lookup-10", seals: false) { count, _ in lookup(count, prefixes: 10) },
    Case(name: "lookup-1000", seals: false) { count, _ in lookup(count, prefixes: 1000) },
    Case(name: "lookup-100000", seals: false) { count, _ in lookup(count, prefixes: 100_000) },
]

let arguments = CommandLine.arguments.dropFirst()
if arguments.isEmpty {
    for one in cases { print(one.seals ? "\(one.name) openssl" : one.name) }
} else if let chosen = cases.first(where: { $0.name == arguments.first }), arguments.count >= 2,
    let count = Int(arguments[arguments.startIndex + 1]), (0...greatestCount).contains(count)
{
    print(chosen.run(count, arguments.last == "openssl" ? OpenSSLCipher() : NoCipher()))
} else {
    print("PacketInstructions: the first argument is a case, the second 0 to \(greatestCount) operations")
    exit(2)
}
