import FabricCore
import FabricTestSupport
import Testing

@testable import FabricLinux

@Suite struct RouteMessageTests {
    // MARK: Messages as the kernel sends them

    private static func own<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
    }

    private static func message(_ kind: UInt16, flags: UInt16 = 0, _ body: [UInt8]) -> [UInt8] {
        padded(own(UInt32(16 + body.count)) + own(kind) + own(flags) + own(UInt32(1)) + own(UInt32(0)) + body)
    }

    private static func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        padded(own(UInt16(4 + value.count)) + own(type) + value)
    }

    private static func link(kind: UInt16 = 16, flags: UInt32, mtu: UInt32, family: UInt8 = 0) -> [UInt8] {
        message(
            kind,
            [family, 0] + own(UInt16(65_534)) + own(Int32(7)) + own(flags) + own(UInt32(0))
                + attribute(3, Array("rap0\0".utf8)) + attribute(4, own(mtu)))
    }

    private static func address(kind: UInt16 = 20, _ family: UInt8, _ length: UInt8, _ attributes: [UInt8]) -> [UInt8] {
        message(kind, [family, length, 0, 0] + own(UInt32(7)) + attributes)
    }

    private static func route(
        kind: UInt16 = 24, sent: UInt16 = 0, _ family: UInt8, _ length: UInt8, table: UInt8 = 254, type: UInt8 = 1,
        flags: UInt32 = 0, _ attributes: [UInt8]
    ) -> [UInt8] {
        message(kind, flags: sent, [family, length, 0, 0, table, 4, 253, type] + own(flags) + attributes)
    }

    private static let interface = attribute(4, own(Int32(7)))
    private static let v4 = attribute(1, [10, 78, 0, 0])
    private static let v6 = attribute(1, IPAddress("fd00::1")!.bytes)

    static let cases: [(String, [UInt8], RouteMessage)] = [
        ("a link that is up", link(flags: 0x10C1, mtu: 1412), .link(index: 7, isUp: true, mtu: 1412)),
        ("a link that is down", link(flags: 0x1080, mtu: 1300), .link(index: 7, isUp: false, mtu: 1300)),
        ("a link that is gone", link(kind: 17, flags: 0, mtu: 1), .linkGone(index: 7)),
        ("a bridge's port that is gone", link(kind: 17, flags: 0, mtu: 1, family: 7), .other),
        (
            "an IPv4 address, the own before the other end's",
            address(2, 24, attribute(1, [10, 78, 0, 9]) + attribute(2, [10, 78, 0, 1])),
            .address(index: 7, InterfaceAddress("10.78.0.1/24")!, isGone: false)
        ),
        (
            "an IPv6 address that is gone", address(kind: 21, 10, 128, v6),
            .address(index: 7, InterfaceAddress("fd00::1/128")!, isGone: true)
        ),
        ("an address of a wrong length", address(2, 24, attribute(2, [10, 78, 0])), .other),
        ("a prefix that is too long", address(2, 33, attribute(2, [10, 78, 0, 1])), .other),
        ("a route", route(2, 24, v4 + interface), .route(index: 7, IPPrefix("10.78.0.0/24")!, isGone: false)),
        (
            "a route that is gone", route(kind: 25, 10, 128, v6 + interface),
            .route(index: 7, IPPrefix("fd00::1/128")!, isGone: true)
        ),
        ("a default route", route(10, 0, interface), .route(index: 7, IPPrefix("::/0")!, isGone: false)),
        (
            "a table beyond a byte", route(2, 24, table: 252, v4 + interface + attribute(15, own(UInt32(254)))),
            .route(index: 7, IPPrefix("10.78.0.0/24")!, isGone: false)
        ),
        ("another table", route(2, 24, table: 255, v4 + interface), .other),
        ("no unicast", route(2, 24, type: 7, v4 + interface), .other),
        ("a cached one", route(2, 24, flags: 0x200, v4 + interface), .other),
        ("one without interface", route(2, 24, v4), .other),
        ("another family", route(28, 0, interface), .other),
        ("the end", message(3, [0, 0, 0, 0]), .done),
        ("an error", message(2, own(Int32(-19)) + [0, 0]), .error(19)),
        ("an acknowledgement", message(2, own(Int32(0))), .error(0)),
        ("a loss", message(4, []), .overrun),
        ("another kind", message(99, [1, 2, 3]), .other),
        ("an end without a number", message(3, []), .done),
        ("a dump that failed", message(3, flags: 2, own(Int32(-19))), .error(19)),
        ("a dump that changed under way", route(sent: 0x12, 2, 24, v4 + interface), .interrupted),
        ("a dump that changed at its end", message(3, flags: 0x12, [0, 0, 0, 0]), .interrupted),
        ("a route in another's place", route(sent: 0x100, 2, 24, v4 + interface), .replaced),
        ("a blackhole in another's place", route(sent: 0x100, 2, 32, type: 6, v4), .replaced),
        ("a place in another table", route(sent: 0x100, 2, 24, table: 255, v4 + interface), .other),
        ("a capped error", message(2, flags: 0x100, own(Int32(-17))), .error(17)),
    ]

    private static func bytes(_ name: String) -> [UInt8] { cases.first { $0.0 == name }!.1 }

    private func parse(_ bytes: [UInt8]) throws -> [RouteMessage] {
        try bytes.withUnsafeBytes { try RouteMessage.parse($0) }
    }

    @Test(arguments: cases.indices) func `each kind of message is read`(index: Int) throws {
        let (name, bytes, expected) = Self.cases[index]
        #expect(try parse(bytes) == [expected], "\(name)")
    }

    @Test func `several messages stand in one datagram`() throws {
        #expect(try parse(Self.cases.flatMap(\.1)) == Self.cases.map(\.2))
        #expect(try parse([]).isEmpty)
    }

    @Test func `what is cut off or claims too much is refused`() {
        // Each is cut within the part that is read.
        for bytes in [Self.cases[0].1, Self.cases[4].1, Self.cases[8].1, Self.cases[19].1] {
            for length in 1..<bytes.count {
                #expect(throws: RouteMessageError.self) { _ = try parse(Array(bytes[..<length])) }
            }
        }
        for length in [0, 15, 17, 1_000_000, .max] as [UInt32] {
            #expect(throws: RouteMessageError.self) {
                _ = try parse(Self.own(length) + [UInt8](repeating: 0, count: 12))
            }
        }
        for length in [0, 3, 9, 65_535] as [UInt16] {
            let lying = Self.own(length) + Self.own(UInt16(2)) + [10, 78, 0, 1]
            #expect(throws: RouteMessageError.self) { _ = try parse(Self.address(2, 24, lying)) }
        }
    }

    @Test func `mutated datagrams never trap, and what is read is sound`() throws {
        try Fuzz.run(corpus: Self.cases.map(\.1) + [Self.cases.flatMap(\.1)], seed: 1, iterations: 20_000) { bytes in
            guard let messages = try? parse(bytes) else { return }
            #expect(messages.count <= bytes.count / 16 + 1)
        }
    }

    @Test func `what can't be read, and what was lost, may concern any interface`() {
        for bytes in [[1, 2, 3], Self.bytes("a loss"), Self.bytes("a blackhole in another's place")] {
            var changes = InterfaceWatch.Changes()
            bytes.withUnsafeBytes { InterfaceWatch.take($0, &changes) }
            #expect(changes.isAny && changes.concern(12))
        }
        var changes = InterfaceWatch.Changes()
        Self.cases[0].1.withUnsafeBytes { InterfaceWatch.take($0, &changes) }
        #expect(!changes.isAny && changes.concern(7) && !changes.concern(12))
    }

    // MARK: Answers

    private func step(_ answer: inout RouteAnswer, _ names: String...) throws -> RouteAnswer.Step {
        try names.flatMap { Self.bytes($0) }.withUnsafeBytes { try answer.take($0, "look") }
    }

    @Test func `a dump is whole at its end, and tells of the device that was asked about`() throws {
        var answer = RouteAnswer(index: 7, isDump: true)
        #expect(try step(&answer, "a route", "a default route") == .more)
        #expect(try step(&answer, "an IPv6 address that is gone", "the end") == .whole)
        #expect(answer.messages.count == 3)
        var other = RouteAnswer(index: 8, isDump: true)
        #expect(try step(&other, "a route", "the end") == .whole)
        #expect(other.messages.isEmpty)
        var link = RouteAnswer(index: 7, isDump: false)
        #expect(try step(&link, "a link that is up") == .whole)
    }

    @Test func `a dump that something changed under way is not taken for the whole`() throws {
        for name in ["a dump that changed under way", "a dump that changed at its end"] {
            var answer = RouteAnswer(index: 7, isDump: true)
            #expect(try step(&answer, "a route", name, "the end") == .interrupted)
        }
    }

    @Test func `a dump that ends with an error is no answer`() throws {
        var gone = RouteAnswer(index: 7, isDump: true)
        #expect(try step(&gone, "a route", "a dump that failed") == .noDevice)
        let refused = Self.message(3, flags: 2, Self.own(Int32(-12)))
        #expect(throws: SystemError("look", code: 12)) {
            var answer = RouteAnswer(index: 7, isDump: true)
            _ = try refused.withUnsafeBytes { try answer.take($0, "look") }
        }
    }
}

@Suite(.enabled(if: canMakeNetworks, "needs root, ip(8) and /dev/net/tun"))
struct InterfaceWatchTests {
    @Test func `a device's state is what ip(8) made of it, and each change of it is heard`() throws {
        let namespace = try NetworkNamespace.create("watch-test")
        defer { try? namespace.delete() }
        try namespace.withThread {
            let device = try TUNDevice(pattern: "rap%d")
            let other = try TUNDevice(pattern: "other%d")
            let watch = try InterfaceWatch()
            #expect(try watch.changes() == InterfaceWatch.Changes())
            #expect(
                try device.state() == InterfaceState(isUp: false, mtu: 1500, addresses: [], routes: []))
            try device.setMTU(1412)
            try device.addAddress(IPAddress("fd00:9::1")!, prefixLength: 128)
            try device.addAddress(IPAddress("10.9.0.1")!, prefixLength: 24)
            try device.setUp(true)
            try device.addRoute(IPPrefix("fd00:9:1::/64")!)
            try other.addAddress(IPAddress("10.8.0.1")!, prefixLength: 24)
            try other.setUp(true)
            let whole = InterfaceState(
                isUp: true, mtu: 1412,
                addresses: [InterfaceAddress("10.9.0.1/24")!, InterfaceAddress("fd00:9::1/128")!],
                routes: [IPPrefix("10.9.0.0/24")!, IPPrefix("fd00:9::1/128")!, IPPrefix("fd00:9:1::/64")!])
            #expect(try device.state() == whole)
            let heard = try watch.changes()
            #expect(heard.concern(device.interfaceIndex) && heard.concern(other.interfaceIndex) && !heard.isAny)

            var changed: [InterfaceState] = []
            for command in [
                ["route", "delete", "fd00:9:1::/64", "dev", device.name], ["address", "flush", "dev", device.name],
                ["link", "set", device.name, "mtu", "1300"], ["link", "set", device.name, "down"],
            ] {
                try namespace.command(["ip"] + command)
                let heard = try watch.changes()
                #expect(heard.indexes == [device.interfaceIndex], "\(command)")
                changed.append(try #require(try device.state()))
            }
            #expect(changed[0].routes == [IPPrefix("10.9.0.0/24")!, IPPrefix("fd00:9::1/128")!])
            #expect(changed[1].addresses.isEmpty && changed[1].routes.isEmpty && changed[1].isUp)
            #expect(changed[2].mtu == 1300 && !changed[3].isUp)

            try device.setUp(true)
            for (prefix, foreign) in [
                ("10.7.0.0/24", ["10.7.0.0/24", "dev", other.name]), ("10.7.0.0/24", ["blackhole", "10.7.0.0/24"]),
                ("fd00:9:7::/64", ["fd00:9:7::/64", "dev", other.name]),
            ] {
                try device.addRoute(IPPrefix(prefix)!)
                _ = try watch.changes()
                try namespace.command(["ip", "route", "replace"] + foreign)
                #expect(try watch.changes().concern(device.interfaceIndex), "\(foreign)")
                #expect(try #require(try device.state()).routes.contains(IPPrefix(prefix)!) == false)
                try namespace.command(["ip", "route", "delete"] + foreign)
            }

            try namespace.command(["ip", "link", "delete", device.name])
            #expect(try watch.changes().concern(device.interfaceIndex))
            #expect(try device.state() == nil)
        }
    }
}
