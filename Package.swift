// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] =
    [
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .treatAllWarnings(as: .error),
    ] + (Context.environment["RAP_MUTANTS"] == nil ? [] : [.define("RAP_MUTANTS")])

/// The parts of the page that a simulated run's report is made of.
let reportPage: [Resource] = [
    "report.html", "report.css", "report-model.js", "report-map.js", "report-time.js", "report-chart.js",
    "report-events.js",
].map { .embedInCode("Report/\($0)") }

/// A library target of the product. Arrows between targets point one way; `Tests/ArchitectureTests` enforces it.
func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil, resources: [Resource] = []
) -> Target {
    .target(name: name, dependencies: dependencies, path: path, resources: resources, swiftSettings: strict)
}

/// An executable holds argument parsing and wiring, nothing else.
func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + [.product(name: "ArgumentParser", package: "swift-argument-parser")],
        swiftSettings: strict)
}

/// Every test target but the one that reads sources may use `Tests/Support`.
func tests(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies.isEmpty ? [] : dependencies + ["FabricTestSupport"],
        exclude: exclude, resources: resources, swiftSettings: strict)
}

let allTestTargets: [Target] = [
    tests("ArchitectureTests", []),
    tests("FabricCoreTests", ["FabricCore"]),
    tests("FabricDocumentTests", ["FabricCore", "FabricDocument"]),
    tests(
        "FabricWireTests", ["FabricCore", "FabricDocument", "FabricWire", "FabricCrypto", "FabricIdentity"]),
    tests(
        "FabricTunnelTests", ["FabricCore", "FabricCrypto", "FabricTunnel", "CFabricAllocations"], exclude: ["vectors"]
    ),
    tests("FabricPacketTests", ["FabricCore", "FabricPacket", "CFabricAllocations"]),
    tests("FabricCryptoTests", ["FabricCore", "FabricCrypto"]),
    tests(
        "FabricIdentityTests",
        ["FabricCore", "FabricIdentity", .product(name: "SwiftASN1", package: "swift-asn1")]),
    tests(
        "FabricStoreTests",
        ["FabricCore", "FabricStoreSQLite", "FabricStorePostgres", "FabricPostgresTestSupport"]),
    tests(
        "FabricControlTests",
        [
            "FabricCore", "FabricDocument", "FabricWire", "FabricPolicy", "FabricControl", "FabricOperator",
            "FabricCrypto", "FabricIdentity", "FabricStoreSQLite", "FabricPostgresTestSupport",
        ]),
    tests(
        "FabricNodeTests",
        [
            "FabricCore", "FabricDocument", "FabricWire", "FabricTunnel", "FabricMesh", "FabricControl",
            "FabricOperator", "FabricNode", "FabricCrypto", "FabricIdentity", "FabricStoreSQLite",
            "CFabricAllocations",
        ]),
    tests("FabricScenarioTests", ["FabricCore", "FabricDocument", "FabricScenario"]),
    tests("FabricLinuxTests", ["FabricCore", "FabricPacket", "FabricLinux", "CFabricAllocations"]),
    tests("FabricCaptureTests", ["FabricCore", "FabricCapture", "FabricLinux"]),
    tests(
        "FabricRuntimeTests",
        [
            "FabricCore", "FabricWire", "FabricControl", "FabricOperator", "FabricCrypto", "FabricIdentity",
            "FabricLinux", "FabricNode", "FabricRuntime",
            .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "Logging", package: "swift-log"),
        ]),
    tests(
        "FabricLiveTests",
        ["FabricCore", "FabricDocument", "FabricScenario", "FabricLinux", "FabricCapture", "FabricLive"]),
    tests(
        "SimulatorTests",
        ["FabricCore", "FabricWire", "FabricTunnel", "FabricNode", "FabricScenario", "FabricCrypto", "Simulator"]),
]

/// All test targets link into one bundle, and `swift test` builds every target. `RAP_TESTS=FabricTunnelTests swift test`
/// leaves out all that the named test targets (comma-separated) don't need.
func selected(_ all: [Target]) -> [Target] {
    guard let wanted = Context.environment["RAP_TESTS"] else { return all }
    var names = Set(wanted.split(separator: ",").map(String.init))
    var pending = Array(names)
    while let name = pending.popLast() {
        guard let target = all.first(where: { $0.name == name }) else { continue }
        for case .byNameItem(let dependency, _) in target.dependencies where names.insert(dependency).inserted {
            pending.append(dependency)
        }
    }
    return all.filter { names.contains($0.name) }
}

let products = ["rap", "rap-sim", "rap-live", "rap-control", "rap-node-agent"]

let package = Package(
    name: "rap",
    products: Context.environment["RAP_TESTS"] == nil ? products.map { .executable(name: $0, targets: [$0]) } : [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: selected(
        [
            // Deciding code: synchronous, told the time, handed its randomness, no I/O.
            library("FabricCore"),
            library("FabricDocument", ["FabricCore"]),
            library("FabricWire", ["FabricCore", "FabricDocument"]),
            library("FabricPolicy", ["FabricCore", "FabricWire"]),
            library("FabricPacket", ["FabricCore"]),
            library("FabricTunnel", ["FabricCore"]),
            library("FabricMesh", ["FabricCore", "FabricDocument", "FabricWire", "FabricTunnel"]),
            library("FabricControl", ["FabricCore", "FabricDocument", "FabricWire", "FabricPolicy"]),
            library("FabricOperator", ["FabricCore", "FabricDocument", "FabricWire"]),
            library(
                "FabricNode",
                ["FabricCore", "FabricDocument", "FabricPacket", "FabricWire", "FabricTunnel", "FabricMesh"]),
            library(
                "FabricScenario",
                ["FabricCore", "FabricDocument", .product(name: "Yams", package: "Yams")]),

            // Adapters that both hosts link.
            .systemLibrary(
                name: "CFabricOpenSSL", path: "Sources/CFabricOpenSSL", pkgConfig: "libcrypto",
                providers: [.apt(["libssl-dev"])]),
            .target(name: "CFabricCipher", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
            .target(name: "CFabricSQLite", linkerSettings: [.linkedLibrary("sqlite3")]),
            library(
                "FabricCrypto",
                ["FabricCore", "CFabricCipher", "CFabricOpenSSL", .product(name: "Crypto", package: "swift-crypto")]),
            library(
                "FabricIdentity",
                [
                    "FabricCore", .product(name: "Crypto", package: "swift-crypto"),
                    .product(name: "SwiftASN1", package: "swift-asn1"),
                ]),
            library(
                "FabricStoreSQLite", ["FabricCore", "CFabricSQLite", .product(name: "GRDB", package: "GRDB.swift")]),

            // The Linux host.
            .systemLibrary(
                name: "CFabricPostgres", path: "Sources/CFabricPostgres", pkgConfig: "libpq",
                providers: [.apt(["libpq-dev"])]),
            library("FabricStorePostgres", ["FabricCore", "CFabricPostgres"]),
            .target(name: "CFabricLinux"),
            .systemLibrary(name: "CFabricPcap", path: "Sources/CFabricPcap", providers: [.apt(["libpcap-dev"])]),
            library("FabricLinux", ["FabricCore", "FabricPacket", "CFabricLinux"]),
            library("FabricCapture", ["FabricCore", "CFabricPcap"]),
            library(
                "FabricRuntime",
                [
                    "FabricCore", "FabricDocument", "FabricPacket", "FabricWire", "FabricControl", "FabricNode",
                    "FabricOperator", "FabricCrypto", "FabricIdentity", "FabricStoreSQLite", "FabricStorePostgres",
                    "FabricLinux",
                    .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                    .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOTLS", package: "swift-nio"),
                    .product(name: "NIOSSL", package: "swift-nio-ssl"),
                    .product(name: "Logging", package: "swift-log"),
                ]),

            library(
                "FabricLive",
                [
                    "FabricCore", "FabricDocument", "FabricWire", "FabricNode", "FabricScenario", "FabricLinux",
                    "FabricCapture",
                ]),

            // The simulated host.
            library(
                "Simulator",
                [
                    "FabricCore", "FabricDocument", "FabricWire", "FabricTunnel", "FabricMesh", "FabricControl",
                    "FabricNode", "FabricOperator", "FabricScenario", "FabricCrypto", "FabricIdentity",
                    "FabricStoreSQLite",
                ], path: "Simulator", resources: reportPage),

            // For tests alone; no product links them. The first counts allocations.
            .target(name: "CFabricAllocations", path: "Tests/Allocations"),
            library("FabricTestSupport", ["FabricCore"], path: "Tests/Support"),
            library(
                "FabricPostgresTestSupport", ["FabricCore", "FabricStorePostgres"], path: "Tests/PostgresSupport"),

            // Executables: arguments and wiring only.
            .target(
                name: "FabricCommand",
                dependencies: [.product(name: "ArgumentParser", package: "swift-argument-parser")],
                swiftSettings: strict),
            program(
                "rap",
                [
                    "FabricCommand", "FabricCore", "FabricDocument", "FabricWire", "FabricControl", "FabricOperator",
                    "FabricRuntime",
                    .product(name: "Logging", package: "swift-log"),
                ]),
            program("rap-sim", ["FabricCommand", "FabricCore", "FabricDocument", "FabricScenario", "Simulator"]),
            program(
                "rap-live",
                [
                    "FabricCommand", "FabricCore", "FabricDocument", "FabricScenario", "FabricLinux", "FabricCapture",
                    "FabricLive",
                ]),
            program(
                "rap-control",
                [
                    "FabricCommand", "FabricCore", "FabricControl", "FabricRuntime",
                    .product(name: "Logging", package: "swift-log"),
                ]),
            program(
                "rap-node-agent",
                [
                    "FabricCommand", "FabricCore", "FabricDocument", "FabricWire", "FabricNode", "FabricRuntime",
                    .product(name: "Logging", package: "swift-log"),
                ]),

            // Benchmarks: a program is named like its folder; `scripts/bench` runs them all.
            .executableTarget(
                name: "ControlBenchmark",
                dependencies: [
                    "FabricCore", "FabricDocument", "FabricWire", "FabricControl", "FabricOperator", "FabricCrypto",
                    "FabricIdentity", "FabricStoreSQLite", "FabricTestSupport", "FabricPostgresTestSupport",
                ], path: "Benchmarks/ControlBenchmark", swiftSettings: strict),
            .executableTarget(
                name: "EventLoopBenchmark", dependencies: ["FabricCore", "Simulator"],
                path: "Benchmarks/EventLoopBenchmark", swiftSettings: strict),
            .executableTarget(
                name: "PacketInstructions",
                dependencies: ["FabricCore", "FabricCrypto", "FabricPacket", "FabricTunnel"],
                path: "Benchmarks/PacketInstructions", exclude: ["run", "figures.tsv"], swiftSettings: strict),
            .executableTarget(
                name: "SimulatorBenchmark",
                dependencies: ["FabricCommand", "FabricCore", "FabricScenario", "Simulator"],
                path: "Benchmarks/SimulatorBenchmark", swiftSettings: strict),
            .executableTarget(
                name: "TunnelBenchmark", dependencies: ["FabricCore", "FabricCrypto", "FabricTunnel"],
                path: "Benchmarks/TunnelBenchmark", swiftSettings: strict),
        ] + allTestTargets),
    swiftLanguageModes: [.v6]
)
